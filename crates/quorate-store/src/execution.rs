//! Executing one command: reading state, writing a reply, and changing state through effects.

use std::borrow::Cow;

use bytes::Bytes;
use quorate_proto::{Slot, Stamp, command::Call, mutant::Mutant, resp::ReplyWriter};

use crate::{
    Store,
    cell::{Contribution, Element},
    choice::Choice,
    commands::{self, CommandError},
    delta::DeltaWriter,
    hash::Hash,
    number::Number,
    part::{Body, Owner, Part},
    set::Set,
    state::{Kind, State},
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
        let keys = Keys { slot: call.slot(), wall_ms, store: self, effect };
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
        if !call.class().writes() && !call.spec().is_internal() {
            self.keys.store.note_lookups(self.keys.slot, call.keys(), self.keys.wall_ms);
        }
        let start = self.reply.position();
        let result = match commands::handler(call.id()) {
            Some(handler) => handler(self, call.command()),
            None => Err(CommandError::NotExecutable),
        };
        if let Err(error) = result {
            self.reply.take_back(start);
            self.reply.error(error);
        }
    }
}

/// The keys of one slot as a command sees them: past their expiry they do not exist.
pub(crate) struct Keys<'a> {
    pub(crate) slot: Slot,
    pub(crate) wall_ms: u64,
    pub(crate) store: &'a mut Store,
    effect: &'a mut Vec<u8>,
}

impl Keys<'_> {
    /// The state of `key`, unless nothing is known of it or it is past its expiry. It may be dead.
    pub(crate) fn state(&self, key: &[u8]) -> Option<State<'_>> {
        self.store.raw_state(self.slot, key).filter(|state| !state.is_expired(self.wall_ms))
    }

    /// The kind of value that `key` shows; `None` when it does not exist.
    pub(crate) fn kind(&self, key: &[u8]) -> Option<Kind> {
        self.state(key)?.kind()
    }

    /// The string of `key` as a cell; `None` when the key does not exist.
    pub(crate) fn cell(&self, key: &[u8]) -> Result<Option<Element<'_, &[u8]>>, CommandError> {
        Ok(self.state_of_kind(key, Kind::Text)?.map(State::text))
    }

    /// The string that `key` shows; `None` when it does not exist.
    pub(crate) fn text(&self, key: &[u8]) -> Result<Option<Cow<'_, [u8]>>, CommandError> {
        Ok(self.cell(key)?.and_then(|cell| cell.visible()))
    }

    /// The hash at `key`; `None` when it does not exist.
    pub(crate) fn hash(&self, key: &[u8]) -> Result<Option<&Hash>, CommandError> {
        Ok(self.state_of_kind(key, Kind::Hash)?.and_then(State::hash))
    }

    /// The set at `key`; `None` when it does not exist.
    pub(crate) fn set(&self, key: &[u8]) -> Result<Option<&Set>, CommandError> {
        Ok(self.state_of_kind(key, Kind::Set)?.and_then(State::set))
    }

    /// The state of a key that shows a value of this kind; `None` when the key does not exist.
    pub(crate) fn state_of_kind(
        &self,
        key: &[u8],
        kind: Kind,
    ) -> Result<Option<State<'_>>, CommandError> {
        let Some(state) = self.state(key) else {
            return Ok(None);
        };
        match state.kind() {
            None => Ok(None),
            Some(found) if found == kind => Ok(Some(state)),
            Some(_) => Err(CommandError::WrongType),
        }
    }

    /// Begins a change of `key`. Nothing happens until [`Change::apply`].
    pub(crate) fn change<'e>(&'e mut self, key: &'e [u8]) -> Change<'e> {
        let mut writer = DeltaWriter::new(self.effect, key);
        let known = self.store.raw_state(self.slot, key);
        let mut before = known.map_or(Before::Unknown, |state| {
            if state.is_live() { Before::Live } else { Before::Dead }
        });
        if let Some(state) = known {
            // What has expired must not show through the new value, wherever it still is.
            state.ended(self.wall_ms, |part| writer.part(part));
            if state.is_expired(self.wall_ms) {
                before = Before::Dead;
            }
        }
        let began = known.filter(|_| before == Before::Live).and_then(State::began);
        let (slot, wall_ms) = (self.slot, self.wall_ms);
        Change {
            key,
            slot,
            wall_ms,
            store: self.store,
            writer,
            before,
            began,
            removes: false,
            expires: false,
        }
    }

    /// Changes `key` in one go.
    pub(crate) fn apply(&mut self, key: &[u8], build: impl FnOnce(&mut Change<'_>)) {
        let mut change = self.change(key);
        build(&mut change);
        change.apply();
    }

    /// Adds to the string at `key`, whose sum then is `sum`.
    pub(crate) fn increment(
        &mut self,
        key: &[u8],
        amount: Number,
        sum: Number,
    ) -> Result<(), CommandError> {
        let stamp = self.stamp();
        let cell = self.cell(key)?.unwrap_or(Element::NONE);
        let contribution = cell.increment(amount, sum, stamp);
        self.apply(key, |change| match contribution {
            Some(contribution) => change.add(Kind::Text, &[], contribution),
            None => change.edit_text(sum.to_string().as_bytes()),
        });
        Ok(())
    }

    /// Lets an existing key expire at a moment; deletes it when that is past.
    pub(crate) fn expire_at(&mut self, key: &[u8], at_ms: u64) {
        if at_ms <= self.wall_ms {
            self.delete(key);
        } else {
            self.apply(key, |change| change.expiry(Some(at_ms)));
        }
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

    /// Deletes the whole key. Returns whether it existed. One that is past its expiry is deleted
    /// all the same: by the clock of another replica it may have a moment left.
    pub(crate) fn delete(&mut self, key: &[u8]) -> bool {
        let existed = self.kind(key).is_some();
        if self.store.raw_state(self.slot, key).is_some_and(State::is_live) {
            self.apply(key, |change| {
                change.clear();
                // One that this store has not heard of must not reach an addition that it has not
                // heard of either.
                if change.store.keeps_removed() && !Mutant::ExpiryOutlives.is_planted() {
                    change.expiry(None);
                }
            });
        }
        existed
    }
}

/// The delta of one key while it is being put together. Every part gets a stamp of its own.
pub(crate) struct Change<'e> {
    key: &'e [u8],
    slot: Slot,
    wall_ms: u64,
    store: &'e mut Store,
    writer: DeltaWriter<'e>,
    before: Before,
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
    /// Not even a mark.
    Unknown,
    /// Marks of an object that is gone, or one past its expiry.
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
        let Self { key, slot, wall_ms, store, mut writer, before, began, removes, expires } = self;
        // A replica that has not heard of the beginning must not take what is added for a part of
        // an object with a time to live.
        if let Some(began) = began.filter(|_| writer.length() > 0 && !removes && !expires) {
            writer.part(Part::expiry(began, None));
        }
        let (effect, start) = writer.finish_within();
        store.apply(slot, &effect[start..]);
        let may_end = before == Before::Live && removes;
        let may_begin = matches!(before, Before::Dead | Before::Deleted);
        // Most writes do neither, and need not look at the key again.
        if expires || !(may_end || may_begin) || Mutant::ExpiryOutlives.is_planted() {
            return;
        }
        let Some(state) = store.raw_state(slot, key) else { return };
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
            store.apply(slot, writer.finish());
        }
    }

    /// A stamp newer than everything this store has seen.
    pub(crate) fn stamp(&mut self) -> Stamp {
        self.store.clock.tick(self.wall_ms)
    }

    /// The state before the change.
    fn before(&self) -> Option<State<'_>> {
        self.store.raw_state(self.slot, self.key)
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
        if self.before().is_some_and(State::has_collection) {
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

    /// Makes a part of what was written elsewhere one of the change.
    pub(crate) fn adopt(&mut self, part: Part<'_>) {
        self.removes |= part.is_mark();
        self.expires |= matches!(part.body(), Body::Until(_, Some(_)));
        self.writer.part(part);
    }

    /// Sets this origin's increments of the string, or of an element of a collection.
    pub(crate) fn add(&mut self, kind: Kind, name: &[u8], contribution: Contribution) {
        self.writer.part(Part::new(Owner::Object(kind), name, Body::Added(contribution)));
    }

    /// Removes an element of a collection, up to the newest stamp that this store has seen of it.
    pub(crate) fn remove(&mut self, kind: Kind, name: &[u8]) {
        let seen = self.before().and_then(|state| state.outline(kind, name).0);
        if let Some(newest) = seen.map(|element| element.newest()) {
            self.removes = true;
            self.writer.part(Part::element(kind, name, Body::Removed(newest)));
        }
    }
}
