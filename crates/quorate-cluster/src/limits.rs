//! Every bound of the machines, with its reason.

use core::time::Duration;

use quorate_proto::{
    Origin,
    limits::{DOT_RANGES_MAX, DOT_SLOTS_MAX, PART_BYTES},
    slot::SLOTS_PER_GROUP,
};

/// Members of a cluster. Every node links to every other one, so this is also the number of links.
pub const MEMBERS_MAX: usize = 1_024;

/// Datacentres of a cluster, those of witnesses too: each has a number of eight bits.
pub const DATACENTRES_MAX: usize = 64;

/// Replicas of a slot over all datacentres: one bit each in
/// [`Positions`](crate::positions::Positions).
pub const REPLICAS_MAX: usize = 64;

/// Replicas of a slot in each datacentre unless configured otherwise.
pub const REPLICATION_FACTOR_DEFAULT: u16 = 3;

/// Bytes of a node's, cluster's, datacentre's or rack's name, and of an address, that a peer may
/// send.
pub const NAME_LENGTH_MAX: usize = 255;

/// Addresses tried for one member: the one it gave itself and what others heard lately.
pub const ADDRESSES_PER_MEMBER_MAX: usize = 4;

/// Seeds of a node. They only serve to find the others, so a handful is enough.
pub const SEEDS_MAX: usize = 64;

/// Incoming links that the membership of a node keeps track of: one for each member, twice over
/// because a new one can come before the old one is seen to be gone.
pub const INCOMING_LINKS_MAX: usize = 2 * MEMBERS_MAX;

/// First pause before a lost link is dialled again.
pub const REDIAL_PAUSE_MIN: Duration = Duration::from_millis(50);

/// Longest pause between attempts. A node that comes back is linked again within this time, so it
/// bounds how long others go on keeping hints for it.
pub const REDIAL_PAUSE_MAX: Duration = Duration::from_secs(2);

/// Time for an attempt to connect and be welcomed.
pub const DIAL_PATIENCE: Duration = Duration::from_secs(3);

/// Pause between two rounds of telling peers the member list, as long as some may have missed it.
pub const EXCHANGE_INTERVAL: Duration = Duration::from_millis(500);

/// Pause between two rounds of gossip: what changes is known everywhere some rounds later, and in a
/// cluster of [`MEMBERS_MAX`] the digests of a round are 300 KB a node.
pub const GOSSIP_INTERVAL: Duration = Duration::from_secs(1);

/// Shortest pause between two rounds, when a node has something to say at once.
pub const GOSSIP_PAUSE_MIN: Duration = Duration::from_millis(100);

/// Members that a node speaks to in a round. Each further one makes news spread faster by less.
pub const GOSSIP_FANOUT: usize = 2;

/// Bytes of a message: the digests of [`MEMBERS_MAX`] and as much news as half of that.
pub const GOSSIP_PACKET_MAX: usize = 64 << 10;

/// News of one node in a message, in bytes: several nodes have room in each.
pub const GOSSIP_SHARE_MAX: usize = 4 << 10;

/// Bytes of one thing that a node says of itself: names and addresses of the greatest length.
pub const GOSSIP_VALUE_MAX: usize = 2 << 10;

/// Things that a node says of itself.
pub const GOSSIP_TOPICS_MAX: usize = 16;

/// Greatest version and number of beats: more than a node can reach, and far from what cannot be
/// counted on.
pub const GOSSIP_VERSION_MAX: u64 = 1 << 48;

/// A start that is further in the future is made up. Clocks are wrong by hours, not by days.
pub const GOSSIP_AHEAD_MAX: Duration = Duration::from_secs(24 * 3_600);

/// What a node has said is forgotten when it is dead for so long: after most restarts of machines.
pub const GOSSIP_FORGOTTEN_AFTER: Duration = Duration::from_secs(600);

/// Intervals between beats of a member by which it is told whether it is overdue.
pub const GOSSIP_ARRIVALS: usize = 16;

/// Least deviation of these intervals: a steady rhythm must not make a short delay look like death.
pub const GOSSIP_DEVIATION_MIN: Duration = Duration::from_millis(250);

/// Deviations above the mean from which on a beat is overdue, in hundredths: of a normal
/// distribution one in 10^8 is later, a phi of 8.
pub const GOSSIP_OVERDUE_DEVIATIONS: u32 = 561;

/// A beat is overdue after this time in any case.
pub const GOSSIP_SILENCE_MAX: Duration = Duration::from_secs(10);

/// Members that are asked about one that is overdue, besides itself.
pub const GOSSIP_HELPERS: usize = 3;

/// How long their answers are waited for.
pub const GOSSIP_PROBE_PATIENCE: Duration = Duration::from_secs(1);

/// Questions of others that a node passes on at a time.
pub const GOSSIP_RELAYS_MAX: usize = 256;

const _: () = assert!(GOSSIP_VALUE_MAX >= 5 * (NAME_LENGTH_MAX + 2));
const _: () = assert!(GOSSIP_SHARE_MAX >= GOSSIP_VALUE_MAX + 64);
const _: () = assert!(MEMBERS_MAX * 40 + 4 * GOSSIP_SHARE_MAX <= GOSSIP_PACKET_MAX);
const _: () = assert!(GOSSIP_PAUSE_MIN.as_millis() < GOSSIP_INTERVAL.as_millis());

/// Pause before a promised node asks for the missing votes again. The first rounds come early,
/// because a client's first write waits for them.
pub const SEAL_RETRY_MIN: Duration = Duration::from_millis(50);

/// Longest pause between rounds of asking for votes.
pub const SEAL_RETRY_MAX: Duration = Duration::from_secs(1);

/// How long it is remembered that a write was refused: longer than what was sent before its sender
/// has heard of it may be under way.
pub const REFUSAL_MEMORY: Duration = Duration::from_secs(5);

/// Voters of a register: two of five may be lost. More would make each decision slower, and hardly
/// safer.
pub const VOTERS_MAX: usize = 5;

/// How long answers of voters are waited for before an attempt to decide is made anew.
pub const BALLOT_PATIENCE: Duration = Duration::from_millis(500);

/// Pause after an attempt that was overruled. It doubles with each, so that one of several
/// proposers gets through.
pub const BALLOT_PAUSE_MIN: Duration = Duration::from_millis(20);

/// Longest such pause.
pub const BALLOT_PAUSE_MAX: Duration = Duration::from_secs(1);

/// Attempts to decide before whoever wanted it is told that the outcome is not known.
pub const BALLOTS_MAX: u8 = 12;

/// How often a member that goes by a list asks for the document that it stands in.
pub const DOCUMENT_ASKED_EVERY: Duration = Duration::from_secs(1);

/// How long a node that wants to become a member is known after it has asked. It asks again every
/// few seconds.
pub const CANDIDATE_PATIENCE: Duration = Duration::from_secs(30);

/// Nodes that a member knows to want to become members.
pub const CANDIDATES_MAX: usize = 64;

/// How long a member that starts waits for another one that accepts it before it serves. One that
/// is up answers in a fraction; a member that is alone must not be kept from serving for long.
pub const VOUCH_PATIENCE: Duration = Duration::from_millis(500);

/// Pause before a request is repeated that was refused because one of two nodes is an epoch behind.
/// A member list reaches everybody in a fraction of a second.
pub const STALE_EPOCH_PAUSE: Duration = Duration::from_millis(20);

/// How long a node that is to execute the writes on a slot waits for those who executed them by the
/// list before to go by the present one: longer than a list takes to reach everybody, and shorter than
/// clients wait.
pub const HANDOVER_PATIENCE: Duration = Duration::from_secs(1);

/// How long after it has adopted a list a node asks them. By then everybody goes by it who is not cut
/// off.
pub const HANDOVER_KEPT: Duration = Duration::from_secs(10);

/// Slots, for each that takes them over, of which a node is to say that it is done with them.
pub const HANDOVER_QUESTIONS_MAX: usize = 16_384;

/// How long it is asked what became of a write whose executor is lost. A link that broke is up
/// again by then; a client should not wait longer for one that has died.
pub const OUTCOME_PATIENCE: Duration = Duration::from_secs(1);

/// What the memory of a reply to another node's write takes besides the reply, in bytes: its place
/// in a queue, which may be half empty, and what the allocator adds.
pub const OUTCOME_BYTES: usize = 128;

/// Longest reply that is remembered. Replies to writes are short, and replicas are sent them too.
pub const OUTCOME_REPLY_MAX: usize = 256;

/// Memory for replies to other nodes' writes, of each shard. The newest 30,000 or so cover what is
/// written while a broken link is noticed.
pub const OUTCOMES_BYTES_MAX: usize = 4 << 20;

/// How long a member that starts waits for the answers of all others before it answers clients by
/// what it knows. One that is up is linked and answers in a fraction, even when the first dial
/// fails. A peer where nobody listens, or of another datacentre, is waited for no longer than that in
/// any way, so that a node serves within a second.
pub const MEETING_PATIENCE: Duration = Duration::from_millis(900);
const _: () = assert!(MEETING_PATIENCE.as_millis() < READINESS_PATIENCE.as_millis());

/// Pause between heartbeats on an outgoing link.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(200);

/// A peer that was not heard for this long is down.
pub const SILENCE_MAX: Duration = Duration::from_millis(1_000);

/// A peer that was not heard for this long is quiet: it is asked last, and what waits for it goes elsewhere
/// where that is safe. Later than an answer to a heartbeat comes, and early enough that nobody waits for
/// half a second for one that stands still.
pub const QUIET_AFTER: Duration = Duration::from_millis(350);

/// A peer that is heard, but answers nothing for this long, is down: nothing gets through to it. One
/// that says that it is at work, or takes what waits for it, is given more.
pub const ANSWER_MAX: Duration = Duration::from_secs(2);

/// A turn that lasts longer is told to the other nodes: sooner than they take silence for death,
/// later than nearly all turns end.
pub const WORK_TOLD_AFTER: Duration = Duration::from_millis(100);

/// The time within which requests are routed around a dead node.
pub const ROUTED_AROUND_WITHIN: Duration = Duration::from_millis(2_000);

/// A peer whose wall clock differs by more is reported: stamps beyond this bound are refused.
pub const CLOCK_SKEW_MAX: Duration = Duration::from_millis(250);

/// A starting node gives up waiting for what a peer may hold for it, and for its clock, once the peer was
/// silent for this long since the start. Longer than it takes to redial, shorter than an operator's patience.
pub const READINESS_PATIENCE: Duration = Duration::from_secs(5);

/// Operations of one coordinator in flight. Beyond it clients are told to come back later.
pub const OPERATIONS_MAX: usize = 1 << 20;

/// Pause between looks for late operations.
pub const SCAN_INTERVAL: Duration = Duration::from_millis(20);

/// A replica that has not answered a question after this long is bypassed.
pub const RETRY_AFTER: Duration = Duration::from_millis(50);

/// A write that may be repeated is begun by its executor within this time after it was sent, or not at
/// all. More than a pause between heartbeats, by which the executor tells how old it is.
pub const BEGUN_WITHIN: Duration = Duration::from_millis(380);

/// After this time a quiet executor has begun a write that may be repeated, or never will.
pub const REPEATED_AFTER: Duration = Duration::from_millis(420);

/// Bytes of a call that bring both of these a second later: a slow link takes as long for them.
pub const FORWARDED_BYTES_PER_SECOND: u64 = 16 << 20;

/// How much later that is for a call of so many bytes, if it is large. An executor counts it for
/// calls that came in pieces, as whoever sends them so does the same.
pub const fn on_its_way(bytes: usize) -> Duration {
    let bytes = bytes.saturating_sub(PART_BYTES) as u64;
    Duration::from_micros(bytes.saturating_mul(1_000_000) / FORWARDED_BYTES_PER_SECOND)
}

/// How long a write that may be repeated waits for a lost executor to come back: a link that broke is up
/// again by then.
pub const RETURN_PATIENCE: Duration = Duration::from_millis(300);

/// How long answers on the links of a member that has left are waited for: longer than nearly all writes
/// take, and shorter than [`SETTLING_MARGIN`], within which its effects may still come.
pub const PARTING_PATIENCE: Duration = Duration::from_secs(5);

/// What one replica of a datacentre waits for the others that it passes an effect on to.
pub const RELAY_PATIENCE: Duration = Duration::from_millis(200);

/// A replica that was to pass an effect on is silent after this long, and as much as a large effect
/// takes: the effect goes to the others directly.
pub const RELAY_SILENCE: Duration = Duration::from_millis(400);

/// What links between datacentres are thought to carry at least, in bytes a millisecond.
pub const RELAY_BYTES_PER_MS: u64 = (16 << 20) / 1_000;

/// A forwarded read is put to another replica when this many times as long is over as the replica takes
/// for nearly all others, but not sooner than [`RETRY_AFTER`]: late enough not to double the load of a
/// slow node.
pub const HEDGE_FACTOR: u32 = 2;

/// A forwarded read is put to another replica after this time, however slow the replica is.
pub const HEDGED_WITHIN: Duration = Duration::from_millis(250);

/// Bytes of hints on their way to one target, at first.
pub const HANDOFF_WINDOW_START: usize = 256 << 10;

/// Fewest bytes of hints on their way to a target: slower than that no target is served, or its
/// hints grow faster than they go.
pub const HANDOFF_WINDOW_MIN: usize = 16 << 10;

/// Most bytes of hints on their way to a target. Enough to keep a fast and long link busy.
pub const HANDOFF_WINDOW_MAX: usize = 4 << 20;

/// By how many bytes the window grows when all of it was acknowledged.
pub const HANDOFF_WINDOW_STEP: usize = 64 << 10;

/// A target is overloaded when it acknowledges so many times slower than at its best,
pub const HANDOFF_DELAY_FACTOR: u32 = 2;

/// and by this much: below, noise of scheduling and of syncs would count.
pub const HANDOFF_DELAY_SLACK: Duration = Duration::from_millis(20);

/// How long the best is remembered at least, and twice as long at most: it may get worse for
/// good.
pub const HANDOFF_BEST_KEPT: Duration = Duration::from_secs(10);

/// How long hints are counted for the rate of a target, unless none is left before.
pub const HANDOFF_RATE_INTERVAL: Duration = Duration::from_secs(1);

/// Pause after a target has refused a hint.
pub const HANDOFF_PAUSE: Duration = Duration::from_secs(1);

/// Requests of an anti-entropy round in flight.
pub const SYNC_WINDOW: usize = 16;

/// Keys whose states travel in one message.
pub const SYNC_KEYS_PER_REQUEST: usize = 256;

/// Fingerprints in one message: 64 KB.
pub const SYNC_FINGERPRINTS_MAX: usize = 8_000;

/// States asked for by one message. The receiver looks through the whole slot for them, so a slot
/// with very many keys is better asked for many at a time.
pub const SYNC_FINGERPRINTS_PER_REQUEST: usize = 4_096;

/// States still lacking are asked for at least so many at a time, even if fewer fitted before.
pub const SYNC_FINGERPRINTS_PER_REQUEST_MIN: usize = 64;

/// Bytes of states after which a message takes no further key. A key travels whole, so one message
/// may hold this much and one key.
pub const SYNC_STATES_BYTES: usize = 256 << 10;

/// Bytes of a key's state up to which it travels whole. What one exchange of fingerprints costs in
/// messages and turns is more than so much saves.
pub const WHOLE_STATE_BYTES: usize = 1_024;

/// Buckets into which the elements of a key are counted for a comparison: 32 KB of sums.
pub const ELEMENT_BUCKETS_MAX: usize = 4_096;

/// How often a read starts an exchange of elements over because the key has changed meanwhile. Then
/// states travel whole, which takes no longer however much changes.
pub const EXCHANGES_MAX: u8 = 3;

/// Symbols of the sketches of a slot that are tried one after the other before its fingerprints are
/// sent. The first tells up to about eight differences in 256 bytes, the second seventy in 2 KB.
pub const SYNC_SKETCHES: [u16; 2] = [16, 128];

/// Symbols of a sketch that a peer may ask for. Computing one takes time for each key of the slot.
pub const SYNC_SYMBOLS_MAX: usize = 1_024;

/// How often the fingerprints of a slot are exchanged in one round. A slot that still differs is
/// then compared key by key, which no collision can deceive.
pub const SYNC_PASSES_MAX: u8 = 3;

/// Bytes a second, both ways together, that the anti-entropy rounds of one shard may cause in the
/// long run: a quarter of a gigabit link, so that a node that refills leaves room for clients.
pub const SYNC_BYTES_PER_SECOND: u64 = 32 << 20;

/// Bytes that an anti-entropy round may cause at once after a pause. More than the whole window can
/// ask for in one turn of the shell, so that the pace is held and not merely approached from below.
pub const SYNC_BURST_BYTES: u64 = 8 << 20;

/// Pause before an anti-entropy round is repeated in which something was refused.
pub const SYNC_PAUSE: Duration = Duration::from_secs(1);

/// The same when that was because one of the two was an epoch behind: a member list reaches everybody in
/// a fraction of a second, and the slots that it moves wait for the round.
pub const SYNC_STALE_PAUSE: Duration = Duration::from_millis(50);

/// Longest pause between two anti-entropy rounds with a peer, and twice the shortest.
pub const SYNC_INTERVAL: Duration = Duration::from_secs(30);

/// How long tombstones are kept at least. Those who get deletions in other ways than by
/// anti-entropy rounds, such as another cluster on the reconciliation channel, have so much time.
pub const TOMBSTONES_KEPT: Duration = Duration::from_secs(900);

/// How long a write may be on its way at least before what is older counts as settled.
pub const SETTLING_MARGIN: Duration = Duration::from_secs(10);

/// Pause between two exchanges of clocks with a peer, and twice the shortest. What an executor that
/// died has left at one replica only is at the others after two of them.
pub const CLOCKS_INTERVAL: Duration = Duration::from_secs(1);

/// How long an answer about clocks is waited for before the exchange begins anew. A link that is
/// alive brings one much sooner.
pub const CLOCKS_PATIENCE: Duration = Duration::from_secs(10);

/// Ranges of counters above the prefix that are known for one origin and slot. Each gap is a write
/// that has not come; a few are on their way, and what is beyond is claimed later.
pub const CLOCKS_RANGES_MAX: usize = 16;

/// Starts of a member that are known in one slot: the present one, and the one before, whose last
/// writes are what may be missing when it starts again.
pub const CLOCKS_STARTS: usize = 2;

/// Origins known in one slot: only replicas execute.
pub const CLOCKS_ORIGINS_MAX: usize = CLOCKS_STARTS * REPLICAS_MAX;

/// Bytes of the newest effects that a shard keeps for the questions of peers, with what belongs to
/// them: at 64-byte values some 180,000 writes.
pub const CLOCKS_RECENT_BYTES: usize = 32 << 20;

/// Bytes of the pieces of memory that they lie in.
pub const CLOCKS_CHUNK_BYTES: usize = 64 << 10;

/// An effect with more bytes is not kept: it would push out thousands of others.
pub const CLOCKS_EFFECT_MAX: usize = 1 << 20;

/// Effects are kept at least this long, if there is room, and at most twice as long: several
/// exchanges.
pub const CLOCKS_RECENT_AGE: Duration = Duration::from_secs(10);

/// Slots in one message about what has changed.
pub const CLOCKS_SLOTS_PER_MESSAGE: usize = 1_024;

/// Ranges in such a message: 60 KB.
pub const CLOCKS_SUMMARY_RANGES: usize = 3_000;

/// Writes asked for by one message.
pub const CLOCKS_DOTS_PER_REQUEST: u64 = 4_096;

/// Bytes of effects after which an answer takes no further one.
pub const CLOCKS_EFFECTS_BYTES: usize = 256 << 10;

/// Writes of one origin on one slot that are pulled. More are a case for digests, which send each
/// key once.
pub const CLOCKS_PULLED_MAX: u64 = 1_024;

/// Slots and origins of which something is lacking, for one peer. What is beyond waits for a round.
pub const CLOCKS_LACKING_MAX: usize = 1 << 14;

/// Slots and origins that wait for a round with one peer: sixteen origins in each slot. What is
/// beyond is not known after it, until it is reported again.
pub const CLOCKS_PENDED_MAX: usize = 1 << 18;

/// Pause between two anti-entropy rounds that are asked for because clocks cannot tell.
pub const CLOCKS_SUSPICION_PAUSE: Duration = Duration::from_secs(5);

const _: () = assert!(CLOCKS_EFFECT_MAX < CLOCKS_RECENT_BYTES);
const _: () = assert!(CLOCKS_RECENT_AGE.as_millis() >= 4 * CLOCKS_INTERVAL.as_millis());
const _: () = assert!(CLOCKS_SLOTS_PER_MESSAGE <= DOT_SLOTS_MAX);
const _: () = assert!(SLOTS_PER_GROUP as usize <= DOT_SLOTS_MAX);
const _: () = assert!(CLOCKS_DOTS_PER_REQUEST <= DOT_RANGES_MAX as u64);
const _: () = assert!(CLOCKS_ORIGINS_MAX * (1 + CLOCKS_RANGES_MAX) <= CLOCKS_SUMMARY_RANGES);
const _: () = assert!(CLOCKS_SUMMARY_RANGES <= DOT_RANGES_MAX);
// An even number bears no more losses than the odd one below.
const _: () = assert!(VOTERS_MAX % 2 == 1);
const _: () = assert!(BALLOT_PAUSE_MIN.as_millis() < BALLOT_PAUSE_MAX.as_millis());
const _: () = assert!(RELAY_PATIENCE.as_millis() < RELAY_SILENCE.as_millis());
const _: () = assert!(MEMBERS_MAX <= Origin::NUMBERS as usize);
const _: () = assert!(CANDIDATE_PATIENCE.as_millis() > 2 * REDIAL_PAUSE_MAX.as_millis());
const _: () = assert!(REDIAL_PAUSE_MIN.as_millis() < REDIAL_PAUSE_MAX.as_millis());
const _: () = assert!(SEAL_RETRY_MIN.as_millis() < SEAL_RETRY_MAX.as_millis());
// Word of a turn comes in time: the last thing heard, the turn's beginning, a look at it.
const _: () = assert!(
    2 * HEARTBEAT_INTERVAL.as_millis() + WORK_TOLD_AFTER.as_millis() < SILENCE_MAX.as_millis()
);
const _: () = assert!(SILENCE_MAX.as_millis() < ANSWER_MAX.as_millis());
const _: () = assert!(HEARTBEAT_INTERVAL.as_millis() < QUIET_AFTER.as_millis());
const _: () = assert!(QUIET_AFTER.as_millis() < SILENCE_MAX.as_millis());
const _: () = assert!(HEARTBEAT_INTERVAL.as_millis() < BEGUN_WITHIN.as_millis());
const _: () = assert!(BEGUN_WITHIN.as_millis() < REPEATED_AFTER.as_millis());
const _: () = assert!(RETURN_PATIENCE.as_millis() < OUTCOME_PATIENCE.as_millis());
const _: () = assert!(PARTING_PATIENCE.as_millis() < SETTLING_MARGIN.as_millis());
const _: () = assert!(RETRY_AFTER.as_millis() < HEDGED_WITHIN.as_millis());
// One heartbeat may get lost in the noise, a dead node must not.
const _: () = assert!(SILENCE_MAX.as_millis() >= 3 * HEARTBEAT_INTERVAL.as_millis());
const _: () = assert!(
    SILENCE_MAX.as_millis() + HEARTBEAT_INTERVAL.as_millis() <= ROUTED_AROUND_WITHIN.as_millis()
);
const _: () = assert!(HANDOFF_WINDOW_MIN <= HANDOFF_WINDOW_START);
const _: () = assert!(HANDOFF_WINDOW_START <= HANDOFF_WINDOW_MAX);
const _: () = assert!(SYNC_FINGERPRINTS_MAX * 8 + 64 <= 64 << 10);
const _: () = assert!(SYNC_FINGERPRINTS_PER_REQUEST <= SYNC_FINGERPRINTS_MAX);
const _: () = assert!(SYNC_FINGERPRINTS_PER_REQUEST_MIN <= SYNC_FINGERPRINTS_PER_REQUEST);
const _: () = assert!(ELEMENT_BUCKETS_MAX.is_power_of_two() && ELEMENT_BUCKETS_MAX <= 1 << 16);
const _: () = assert!(ELEMENT_BUCKETS_MAX * 8 + SYNC_FINGERPRINTS_MAX * 8 <= SYNC_STATES_BYTES);
const _: () = assert!((SYNC_SKETCHES[1] as usize) <= SYNC_SYMBOLS_MAX);
const _: () = assert!(SYNC_WINDOW * SYNC_STATES_BYTES <= SYNC_BURST_BYTES as usize);
const _: () = assert!(READINESS_PATIENCE.as_millis() > REDIAL_PAUSE_MAX.as_millis());
