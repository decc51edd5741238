//! Executing one command: reading state, writing a reply, and changing state through effects.

use std::cell::Cell;

use bytes::Bytes;
use quorate_proto::{Slot, Stamp, command::Call, mutant::Mutant, resp::ReplyWriter};

use crate::{
    Lookups, Store,
    cell::Contribution,
    choice::Choice,
    commands::{self, CommandError},
    delta::DeltaWriter,
    key::{Key, Shown},
    part::{Body, Owner, Part},
    state::{Kind, State},
    table::Spot,
};

/// A call to execute.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The call, whose keys are all in its slot.
    pub call: &'a Call,
    /// Wall clock in milliseconds since the Unix epoch.
    pub wall_ms: u64,
    /// Whether the reply is encoded for RESP3.
    pub resp3: bool,
}

impl Store {
    /// Executes a call: appends the encoded reply to `reply` and the effect, when there is one,
    /// to `effect`. The effect is already merged here; the caller makes it durable and
    /// replicates it. A reply that shows a long value is returned instead, and shares its bytes.
    pub fn execute(
        &mut self,
        request: Request<'_>,
        reply: &mut Vec<u8>,
        effect: &mut Vec<u8>,
    ) -> Option<Bytes> {
        let Request { call, wall_ms, resp3 } = request;
        let found = Cell::default();
        let keys = Keys { slot: call.slot(), wall_ms, store: self, effect, found };
        let mut execution = Execution { keys, reply: ReplyWriter::new(reply, resp3) };
        execution.run(call);
        execution.reply.take_whole()
    }
}

/// A command in execution.
pub(crate) struct Execution<'a> {
    /// The keys of the command's slot.
    pub(crate) keys: Keys<'a>,
    /// Where exactly one reply goes. A field of its own, so that a value borrowed from `keys` can
    /// be written to it.
    pub(crate) reply: ReplyWriter<'a>,
}

impl Execution<'_> {
    /// Executes a call: exactly one reply is written, also when it fails.
    pub(crate) fn run(&mut self, call: &Call) {
        let start = self.reply.position();
        let result = match commands::handler(call.id()) {
            Some(handler) => handler(self, call.command()),
            None => Err(CommandError::NotExecutable),
        };
        if let Err(error) = result {
            self.reply.take_back(start);
            self.reply.error(error);
        }
        self.keys.store.note_lookups(self.keys.found.take());
    }
}

/// The keys of one slot as a command sees them: past their expiry they do not exist.
pub(crate) struct Keys<'a> {
    pub(crate) slot: Slot,
    pub(crate) wall_ms: u64,
    pub(crate) store: &'a mut Store,
    effect: &'a mut Vec<u8>,
    /// What a command has found of what it reads. Reading needs no exclusive access to the keys.
    found: Cell<Lookups>,
}

impl<'a> Keys<'a> {
    /// What shows of a key whose value is asked for: a hit or a miss.
    #[inline]
    pub(crate) fn read(&self, key: &[u8]) -> Shown<'_> {
        let shown = self.peek(key);
        self.count(shown);
        shown
    }

    /// What shows of a key that is only looked at in order to write, which counts as neither.
    #[inline]
    pub(crate) fn peek(&self, key: &[u8]) -> Shown<'_> {
        self.shown(&self.store.look_up(self.slot, key))
    }

    /// Looks up a key to work on.
    #[inline]
    pub(crate) fn find<'k>(&'k mut self, name: &'k [u8]) -> Key<'k, 'a> {
        let spot = self.store.look_up(self.slot, name);
        Key { keys: self, name, spot }
    }

    /// The same for a key whose value is asked for as well: a hit or a miss.
    pub(crate) fn fetch<'k>(&'k mut self, name: &'k [u8]) -> Key<'k, 'a> {
        let key = self.find(name);
        key.keys.count(key.read());
        key
    }

    #[inline]
    pub(crate) fn shown(&self, spot: &Spot) -> Shown<'_> {
        let state = self.store.state_at(self.slot, spot);
        Shown(state.filter(|state| !state.is_expired(self.wall_ms)))
    }

    fn count(&self, shown: Shown<'_>) {
        let Lookups { hits, misses } = self.found.get();
        let found = u64::from(shown.state().is_some_and(State::is_live));
        self.found.set(Lookups { hits: hits + found, misses: misses + 1 - found });
    }

    /// Changes a key in one go.
    #[inline]
    pub(crate) fn apply(&mut self, key: &[u8], build: impl FnOnce(&mut Change<'_>)) {
        self.find(key).apply(build);
    }

    /// Random positions out of `length`: `count` different ones (all when there are fewer), or,
    /// when `count` is negative, that many with repetitions.
    pub(crate) fn choose(&mut self, length: usize, count: i64) -> Choice {
        Choice::new(&mut self.store.random, length, count)
    }

    /// A stamp newer than everything this store has seen.
    pub(crate) fn stamp(&mut self) -> Stamp {
        self.store.clock.tick(self.wall_ms)
    }
}

impl Key<'_, '_> {
    /// Begins a change of the key. Nothing happens until [`Change::apply`].
    #[inline]
    pub(crate) fn change(&mut self) -> Change<'_> {
        let Self { keys: Keys { slot, wall_ms, store, effect, .. }, name, spot } = self;
        let (slot, wall_ms) = (*slot, *wall_ms);
        let mut writer = DeltaWriter::new(effect, name);
        let known = store.state_at(slot, spot);
        let mut before = known.map_or(Before::Unknown, |state| {
            if state.is_live() { Before::Live } else { Before::Dead }
        });
        if let Some(state) = known {
            // What has expired must not show through the new value, wherever it still is.
            state.ended(wall_ms, |part| writer.part(part));
            if state.is_expired(wall_ms) {
                before = Before::Dead;
            }
        }
        let began = known.filter(|_| before == Before::Live).and_then(State::began);
        let has_collection = known.is_some_and(State::has_collection);
        Change {
            key: name,
            slot,
            spot,
            wall_ms,
            store,
            writer,
            before,
            has_collection,
            began,
            removes: false,
            expires: false,
        }
    }
}

/// The delta of one key while it is being put together. Every part gets a stamp of its own.
pub(crate) struct Change<'e> {
    key: &'e [u8],
    slot: Slot,
    spot: &'e mut Spot,
    wall_ms: u64,
    store: &'e mut Store,
    writer: DeltaWriter<'e>,
    before: Before,
    /// Whether it has live elements of a collection.
    has_collection: bool,
    /// When the object that shows ended the expiries of the one before it.
    began: Option<Stamp>,
    /// Whether the change removes elements, so that it may empty the key.
    removes: bool,
    /// Whether the change itself sets an expiry.
    expires: bool,
}

/// What a change found of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    /// Not even a tombstone.
    Unknown,
    /// Tombstones of an object that is gone, or one past its expiry.
    Dead,
    /// An object that shows.
    Live,
    /// An object that the change itself has deleted.
    Deleted,
}

impl Change<'_> {
    /// Merges the change into the state. When that ends an object, or begins one where another had
    /// been, it ends the time to live too: an expiry never applies to an object that began after it
    /// was set, also when it arrives after the beginning.
    pub(crate) fn apply(self) {
        let Self { key, slot, spot, wall_ms, store, mut writer, .. } = self;
        let (before, began, removes, expires) =
            (self.before, self.began, self.removes, self.expires);
        // A replica that has not heard of the beginning must not take what is added for a part of
        // an object with a time to live.
        if let Some(began) = began.filter(|_| writer.length() > 0 && !removes && !expires) {
            writer.part(Part::expiry(began, None));
        }
        let effect = writer.finish_into(key, |delta| store.apply_delta(slot, spot, delta));
        let may_end = before == Before::Live && removes;
        let may_begin = matches!(before, Before::Dead | Before::Deleted);
        // Most writes do neither, and need not look at the key again.
        if expires || !(may_end || may_begin) || Mutant::ExpiryOutlives.is_planted() {
            return;
        }
        let Some(state) = store.state_at(slot, spot) else { return };
        // Where nobody else writes, only an expiry that is known here can outlive its object.
        if !store.keeps_removed() && state.expires_at().is_none() {
            return;
        }
        let ended = may_end && !state.is_live();
        // The register of a string ends every older expiry by itself.
        let began = may_begin && state.is_live() && state.text().register().is_none();
        if ended || began {
            let stamp = store.clock.tick(wall_ms);
            let mut writer = DeltaWriter::new(effect, key);
            writer.part(Part::expiry(stamp, None));
            writer.finish_into(key, |delta| store.apply_delta(slot, spot, delta));
        }
    }

    /// A stamp newer than everything this store has seen.
    pub(crate) fn stamp(&mut self) -> Stamp {
        self.store.clock.tick(self.wall_ms)
    }

    /// The state before the change.
    fn before(&self) -> Option<State<'_>> {
        self.store.state_at(self.slot, self.spot)
    }

    /// Whether tombstones are kept, because other replicas hold the same keys.
    pub(crate) fn keeps_removed(&self) -> bool {
        self.store.keeps_removed()
    }

    /// Deletes everything that the key holds: value, expiry and all.
    pub(crate) fn clear(&mut self) {
        if let Some(newest) = self.before().map(State::newest) {
            self.writer.part(Part::horizon(newest));
            self.before = Before::Deleted;
        }
    }

    /// Makes the key the string `value`, whatever it was; ends its time to live.
    pub(crate) fn replace_text(&mut self, value: &[u8]) {
        if self.has_collection {
            self.clear();
        }
        let stamp = self.stamp();
        self.writer.part(Part::string(stamp, value));
    }

    /// Changes the string to `value` and keeps its time to live.
    pub(crate) fn edit_text(&mut self, value: &[u8]) {
        let live = self.before == Before::Live;
        let expiry = self.before().filter(|_| live).and_then(State::expires_at);
        self.replace_text(value);
        if expiry.is_some() {
            self.expiry(expiry);
        }
    }

    /// Sets when the key expires; `None` for never.
    pub(crate) fn expiry(&mut self, at_ms: Option<u64>) {
        let stamp = self.stamp();
        self.expires |= at_ms.is_some();
        self.writer.part(Part::expiry(stamp, at_ms));
    }

    /// Puts an element into a collection, or a new value in its place: what `body` gives for the
    /// stamp of the change.
    pub(crate) fn put<'v>(
        &mut self,
        kind: Kind,
        name: &[u8],
        body: impl FnOnce(Stamp) -> Body<'v>,
    ) {
        let stamp = self.stamp();
        self.writer.part(Part::element(kind, name, body(stamp)));
    }

    /// Puts an element into a collection again, as a part says that was read elsewhere.
    pub(crate) fn put_again(&mut self, part: Part<'_>) {
        let stamp = self.stamp();
        self.writer.part(part.with_stamps(|_| stamp));
    }

    /// Writes a part of this change, with a [stamp](Change::stamp) of its own.
    pub(crate) fn put_part(&mut self, part: Part<'_>) {
        self.writer.part(part);
    }

    /// Makes a part of what was written elsewhere one of the change.
    pub(crate) fn adopt(&mut self, part: Part<'_>) {
        self.removes |= part.is_tombstone();
        self.expires |= matches!(part.body(), Body::Until(_, Some(_)));
        self.writer.part(part);
    }

    /// Sets this origin's increments of the string, or of an element of a collection.
    pub(crate) fn add(&mut self, kind: Kind, name: &[u8], contribution: Contribution) {
        self.writer.part(Part::new(Owner::Object(kind), name, Body::Added(contribution)));
    }

    /// Removes an element of a collection, up to the newest stamp that this store has seen of it. Of
    /// one that is removed it says so again: others that are to acknowledge this may not know yet.
    pub(crate) fn remove(&mut self, kind: Kind, name: &[u8]) {
        let Some(state) = self.before() else { return };
        let (seen, tombstone) = state.outline(kind, name);
        let horizon = state.horizon();
        if let Some(newest) = seen.map(|element| element.newest()) {
            self.removes = true;
            self.writer.part(Part::element(kind, name, Body::Removed(newest)));
        } else if tombstone > Stamp::ZERO {
            self.writer.part(Part::element(kind, name, Body::Removed(tombstone)));
        } else if horizon > Stamp::ZERO {
            self.writer.part(Part::horizon(horizon));
        }
    }
}
