//! What a key holds, as readers see it, wherever it lies.

use bytes::Bytes;
use quorate_proto::Stamp;

use crate::{
    cell::{Cell, Element},
    digest::Digest,
    hash::Hash,
    json::Json,
    lifetime::Expiry,
    object::{Collection, Kind, Object},
    part::{Body, Owner, Part},
    set::Set,
    sorted_set::SortedSet,
    state::{Context, KeptDigests, KeyState, Whole, horizon_digest, text_digest},
};

/// The state of one key.
#[derive(Clone, Copy, Debug)]
pub struct State<'a>(Lies<'a>);

/// Where the state lies.
#[derive(Clone, Copy, Debug)]
enum Lies<'a> {
    Nowhere,
    /// Among the plain strings.
    Plain(&'a [u8], Stamp),
    Boxed(&'a KeyState),
}

impl<'a> State<'a> {
    /// Nothing at all.
    pub(crate) const NONE: Self = Self(Lies::Nowhere);

    /// A string and nothing else.
    #[inline]
    pub(crate) fn plain(value: &'a [u8], stamp: Stamp) -> Self {
        Self(Lies::Plain(value, stamp))
    }

    #[inline]
    pub(crate) fn boxed(state: &'a KeyState) -> Self {
        Self(Lies::Boxed(state))
    }

    #[inline]
    fn key_state(self) -> Option<&'a KeyState> {
        if let Lies::Boxed(state) = self.0 { Some(state) } else { None }
    }

    /// A copy in a box, which shares the elements of large collections until one of them changes.
    pub(crate) fn boxed_copy(self) -> KeyState {
        match self.0 {
            Lies::Nowhere => KeyState::Blank,
            Lies::Plain(value, stamp) => KeyState::plain(value, stamp),
            Lies::Boxed(state) => state.clone(),
        }
    }

    /// The cell of the string, unless that is a plain one.
    #[inline]
    fn cell(self) -> Option<&'a Cell> {
        self.key_state()?.text()
    }

    #[inline]
    fn whole(self) -> Option<&'a Whole> {
        self.key_state()?.whole()
    }

    #[inline]
    fn expiry(self) -> Option<Expiry> {
        self.whole()?.expiry
    }

    #[inline]
    fn has_text(self) -> bool {
        matches!(self.0, Lies::Plain(..)) || self.cell().is_some_and(Cell::is_live)
    }

    /// The reply that shows the string, shared with it; `None` where a copy costs less.
    pub(crate) fn shared_reply(self) -> Option<Bytes> {
        self.cell()?.shared_reply()
    }

    /// The string.
    #[inline]
    pub fn text(self) -> Element<'a, &'a [u8]> {
        match self.0 {
            Lies::Plain(value, stamp) => Element::written(value, stamp),
            Lies::Nowhere | Lies::Boxed(_) => self.cell().map_or(Element::NONE, Cell::element),
        }
    }

    /// The hash, when the key has live fields.
    #[inline]
    pub fn hash(self) -> Option<&'a Hash> {
        match self.live_object(Kind::Hash)? {
            Object::Hash(hash) => Some(hash),
            _ => None,
        }
    }

    /// The set, when the key has live members.
    #[inline]
    pub fn set(self) -> Option<&'a Set> {
        match self.live_object(Kind::Set)? {
            Object::Set(set) => Some(set),
            _ => None,
        }
    }

    /// The sorted set, when the key has live members.
    #[inline]
    pub fn sorted_set(self) -> Option<&'a SortedSet> {
        match self.live_object(Kind::SortedSet)? {
            Object::SortedSet(set) => Some(set),
            _ => None,
        }
    }

    /// The document, when the key has live values.
    #[inline]
    pub fn json(self) -> Option<&'a Json> {
        match self.live_object(Kind::Json)? {
            Object::Json(json) => Some(json),
            _ => None,
        }
    }

    /// The collections of the key, also those of which only tombstones are left.
    #[inline]
    fn objects(self) -> &'a [Object] {
        self.key_state().map_or(&[], KeyState::objects)
    }

    #[inline]
    fn collections(self) -> impl Iterator<Item = &'a dyn Collection> + use<'a> {
        self.objects().iter().map(Object::collection)
    }

    /// The collection of a key that holds one and nothing else, as most keys that hold any do.
    #[inline]
    fn only_object(self) -> Option<&'a Object> {
        if let Lies::Boxed(KeyState::Collection(object)) = self.0 { Some(object) } else { None }
    }

    #[inline]
    fn live_object(self, kind: Kind) -> Option<&'a Object> {
        if let Some(object) = self.only_object() {
            return (object.kind() == kind && object.len() > 0).then_some(object);
        }
        let object = self.objects().iter().find(|object| object.kind() == kind);
        object.filter(|object| object.len() > 0)
    }

    /// Whether the key has live elements of a collection.
    #[inline]
    pub(crate) fn has_collection(self) -> bool {
        match self.only_object() {
            Some(object) => object.len() > 0,
            None => self.objects().iter().any(|object| object.len() > 0),
        }
    }

    /// The stamp up to which everything is deleted.
    #[inline]
    pub fn horizon(self) -> Stamp {
        self.whole().map_or(Stamp::ZERO, |whole| whole.horizon.stamp)
    }

    /// When the key expires, in milliseconds since the Unix epoch.
    #[inline]
    pub fn expires_at(self) -> Option<u64> {
        self.expiry().filter(|expiry| expiry.is_ahead())?.at
    }

    /// Whether an expiry has been carried out here that no newer one has replaced.
    #[inline]
    pub(crate) fn has_ended(self) -> bool {
        self.expiry().is_some_and(|expiry| expiry.done)
    }

    /// Whether a part of the state only says what is removed.
    pub(crate) fn is_tombstone(self, part: &Part<'_>) -> bool {
        part.is_tombstone() || self.has_ended() && matches!(part.body(), Body::Until(..))
    }

    /// The stamp of an expiry of *never*: when the object ended those of the one before it.
    #[inline]
    pub(crate) fn began(self) -> Option<Stamp> {
        self.expiry().filter(|expiry| expiry.at.is_none()).map(|expiry| expiry.stamp)
    }

    /// Whether the key's time to live is over at `wall_ms`.
    #[inline]
    pub fn is_expired(self, wall_ms: u64) -> bool {
        self.expires_at().is_some_and(|at| at <= wall_ms)
    }

    /// The kind that shows: the only one, or the one written last. `None` when nothing is live.
    #[inline]
    pub fn kind(self) -> Option<Kind> {
        if let Some(object) = self.only_object() {
            return (object.len() > 0).then(|| object.kind());
        }
        let has_text = self.has_text();
        let live = |object: &&Object| object.len() > 0;
        match self.objects() {
            [] => return has_text.then_some(Kind::Text),
            [object] if !has_text => return live(&object).then(|| object.kind()),
            _ => {}
        }
        // Which of several was written last is seen by looking through all that they hold.
        let text = has_text.then(|| (self.text().newest(), Kind::Text));
        let objects = self.objects().iter().filter(live);
        let objects = objects.map(|object| (object.collection().newest_live(), object.kind()));
        let last = text.into_iter().chain(objects).max_by_key(|(newest, _)| *newest);
        last.map(|(_, kind)| kind)
    }

    /// Whether anything shows.
    #[inline]
    pub fn is_live(self) -> bool {
        self.has_text() || self.has_collection()
    }

    /// Whether nothing is left, not even a tombstone.
    #[inline]
    pub(crate) fn is_blank(self) -> bool {
        !self.is_live()
            && self.whole().is_none_or(Whole::is_blank)
            && self.collections().all(|collection| collection.is_blank())
    }

    /// The newest stamp of anything in the state: what a deletion of the whole key has seen.
    pub fn newest(self) -> Stamp {
        let expiry = self.expiry_stamp().unwrap_or_default();
        let key = self.text().newest().max(self.horizon()).max(expiry);
        self.collections().map(|collection| collection.newest()).fold(key, Stamp::max)
    }

    /// Hands what deletes for good what the end of the time to live has reached to `emit`, if it is
    /// over at `wall_ms`: everything up to the stamp of the expiry, and of what was written from
    /// then until its moment, what is known here. What is not may belong to an object that began
    /// anew. What was added after the moment began another object.
    pub(crate) fn ended(self, wall_ms: u64, mut emit: impl FnMut(Part<'a>)) {
        let expiry = self.expiry();
        let Some(expiry) = expiry.filter(|expiry| expiry.at.is_some_and(|at| at <= wall_ms)) else {
            return;
        };
        let (mut horizon, reach) = (expiry.stamp, expiry.reach());
        self.export(|part| {
            let since = part.since();
            if since <= expiry.stamp || since > reach || part.is_tombstone() {
                return;
            }
            match (part.owner(), part.name()) {
                (Owner::Object(kind), Some(name)) => {
                    emit(Part::element(kind, name, Body::Removed(since)));
                }
                // Increments of a string have no tombstones of their own.
                (Owner::Object(_), None) => horizon = horizon.max(since),
                (Owner::Key, _) => {}
            }
        });
        emit(Part::horizon(horizon));
    }

    /// Bytes of what is alive, those of elements from the size of a few of them.
    pub(crate) fn estimated_bytes(self) -> usize {
        let text = self.text().register().map_or(0, <[u8]>::len);
        text + self.collections().map(|collection| collection.estimated_bytes()).sum::<usize>()
    }

    /// Digest of what is alive.
    pub(crate) fn digest(self, context: Context<'_>) -> Digest {
        let expiry = self.expiry().map_or(0, |expiry| expiry.alive_digest(context));
        let key = text_digest(context, self.text()).wrapping_add(expiry);
        let collections = self.collections().map(|collection| collection.digest(context));
        collections.fold(key, Digest::wrapping_add)
    }

    /// The digests that are kept up to date with every change.
    pub(crate) fn kept_digests(self) -> KeptDigests {
        let mut kept = KeptDigests::default();
        for object in self.objects() {
            let (kind, collection) = (object.kind() as usize, object.collection());
            kept.alive[kind] = collection.kept_digest();
            kept.tombstones[kind] = object.tombstones_digest();
        }
        kept
    }

    /// Digest of the tombstones.
    pub(crate) fn tombstones_digest(self, context: Context<'_>) -> Digest {
        if let Some(object) = self.only_object() {
            return object.tombstones_digest();
        }
        let expiry = self.expiry().map_or(0, |expiry| expiry.tombstones_digest(context));
        let key = horizon_digest(context, self.horizon()).wrapping_add(expiry);
        let tombstones = self.objects().iter().map(Object::tombstones_digest);
        tombstones.fold(key, Digest::wrapping_add)
    }

    /// What is known of the string, or of one element of a collection, and up to where it is
    /// removed by a tombstone of its own.
    pub(crate) fn outline(self, kind: Kind, name: &[u8]) -> (Option<Element<'a, ()>>, Stamp) {
        if kind == Kind::Text {
            return (Some(self.text().outline()), Stamp::ZERO);
        }
        let object = self.objects().iter().find(|object| object.kind() == kind);
        object.map_or((None, Stamp::ZERO), |object| {
            let collection = object.collection();
            (collection.outline(name), collection.tombstone(name))
        })
    }

    /// When the expiry was set.
    pub(crate) fn expiry_stamp(self) -> Option<Stamp> {
        self.expiry().map(|expiry| expiry.stamp)
    }

    /// Elements of collections, with those that are removed.
    pub(crate) fn named_elements(self) -> usize {
        self.collections().map(|collection| collection.len_with_tombstones()).sum()
    }

    /// Whether a deletion up to `horizon` would remove anything.
    pub(crate) fn is_reached_by(self, horizon: Stamp) -> bool {
        let expiry = self.expiry();
        self.text().is_reached_by(horizon)
            || expiry.is_some_and(|expiry| expiry.is_ahead() && expiry.stamp <= horizon)
            || self.collections().any(|collection| collection.is_reached_by(horizon))
    }

    /// Hands every part of the state to `emit`; merging them into nothing gives this state.
    pub(crate) fn export(self, mut emit: impl FnMut(Part<'a>)) {
        self.export_key(&mut emit);
        for collection in self.collections() {
            collection.export(&mut emit);
        }
    }

    /// Hands every part that belongs to the key as a whole to `emit`.
    fn export_key(self, emit: &mut impl FnMut(Part<'a>)) {
        if !self.horizon().is_zero() {
            emit(Part::horizon(self.horizon()));
        }
        self.text().export(|body| emit(Part::new(Owner::Object(Kind::Text), &[], body)));
        if let Some(expiry) = self.expiry() {
            emit(Part::expiry(expiry.stamp, expiry.at));
        }
    }

    /// Hands the parts that belong to the key as a whole, and those of some elements, to `emit`.
    pub(crate) fn export_names(
        self,
        names: impl Iterator<Item = &'a [u8]> + Clone,
        mut emit: impl FnMut(Part<'a>),
    ) {
        self.export_key(&mut emit);
        for collection in self.collections() {
            names.clone().for_each(|name| collection.export_name(name, &mut emit));
        }
    }

    /// The kinds that are live, a bit each.
    pub(crate) fn live_kinds(self) -> u8 {
        let text = u8::from(self.has_text()) << Kind::Text as u8;
        let live = self.objects().iter().filter(|object| object.len() > 0);
        live.fold(text, |kinds, object| kinds | 1 << object.kind() as u8)
    }

    /// Hands what the key shows to `emit`, as parts with stamps that mean nothing.
    pub(crate) fn show(self, emit: &mut dyn FnMut(Part<'_>)) {
        match self.kind() {
            None => {}
            Some(Kind::Text) => {
                if let Some(value) = self.text().visible() {
                    emit(Part::string(Stamp::ZERO, &value));
                }
            }
            Some(kind) => {
                if let Some(object) = self.live_object(kind) {
                    object.collection().show(emit);
                }
            }
        }
    }
}
