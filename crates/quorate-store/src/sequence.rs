//! A sequence whose items are found, inserted and removed by their position in O(log n).
//!
//! A B-tree without keys: every branch knows how many items each child has, and a copy of the
//! first. Who keeps the sequence in order finds positions by bisection
//! ([`Sequence::partition_point`]).
//!
//! ```text
//!  branch   [ 40 items from a | 25 from g | 61 from m ]
//!              |                 |            |
//!  leaf     [ a b c ... ]    [ g h ... ]   [ m n ... ]
//! ```
//! Nodes hold at most [`WIDTH`] items or children. One that has become empty goes, and two
//! neighbours that fill half a node together become one.

/// Most items of a leaf, and most children of a branch.
const WIDTH: usize = 64;

/// Items in an order that their owner keeps.
#[derive(Clone, Debug)]
pub(crate) struct Sequence<T> {
    root: Node<T>,
}

#[derive(Clone, Debug)]
enum Node<T> {
    Leaf(Vec<T>),
    Branch(Vec<Child<T>>),
}

#[derive(Clone, Debug)]
struct Child<T> {
    /// Number of items below.
    len: usize,
    /// The first of them.
    first: T,
    node: Box<Node<T>>,
}

impl<T: Copy> Default for Sequence<T> {
    fn default() -> Self {
        Self { root: Node::Leaf(Vec::new()) }
    }
}

impl<T: Copy> FromIterator<T> for Sequence<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut sequence = Self::default();
        for (position, item) in items.into_iter().enumerate() {
            sequence.insert(position, item);
        }
        sequence
    }
}

impl<T: Copy> Sequence<T> {
    /// Number of items.
    pub(crate) fn len(&self) -> usize {
        self.root.len()
    }

    /// Puts another item at `position`, which must exist.
    pub(crate) fn replace(&mut self, position: usize, item: T) {
        self.root.replace(position, item);
    }

    /// Inserts an item before the one at `position`, `0..=len()`.
    pub(crate) fn insert(&mut self, position: usize, item: T) {
        if let Some(right) = self.root.insert(position, item) {
            let left = std::mem::replace(&mut self.root, Node::Branch(Vec::with_capacity(2)));
            let Node::Branch(children) = &mut self.root else { return };
            children.extend([left, right].map(Child::new));
        }
    }

    /// Removes the item at `position`, which must exist.
    pub(crate) fn remove(&mut self, position: usize) {
        self.root.remove(position);
        while let Node::Branch(children) = &mut self.root
            && children.len() <= 1
        {
            self.root = children.pop().map_or(Node::Leaf(Vec::new()), |child| *child.node);
        }
    }

    /// The number of items at the front for which `is_before` holds; it must hold for no other.
    pub(crate) fn partition_point(&self, mut is_before: impl FnMut(T) -> bool) -> usize {
        let (mut node, mut before) = (&self.root, 0);
        loop {
            match node {
                Node::Leaf(items) => {
                    return before + items.partition_point(|item| is_before(*item));
                }
                Node::Branch(children) => {
                    let at = children.partition_point(|child| is_before(child.first));
                    let Some(at) = at.checked_sub(1) else { return before };
                    before += children[..at].iter().map(|child| child.len).sum::<usize>();
                    node = &children[at].node;
                }
            }
        }
    }

    /// The items from `start` to before `end`.
    pub(crate) fn range(&self, start: usize, end: usize) -> Vec<T> {
        let mut items = Vec::with_capacity(end.min(self.len()).saturating_sub(start));
        self.root.range(start, end, &mut items);
        items
    }
}

impl<T: Copy> Child<T> {
    fn new(node: Node<T>) -> Self {
        let first = node.first().expect("invariant: a child is not empty");
        Self { len: node.len(), first, node: Box::new(node) }
    }

    /// Takes over what has changed below.
    fn refresh(&mut self) {
        self.len = self.node.len();
        if let Some(first) = self.node.first() {
            self.first = first;
        }
    }
}

/// The child with the item at `position`, and the position in it.
fn child_of<T>(children: &[Child<T>], mut position: usize) -> Option<(usize, usize)> {
    for (at, child) in children.iter().enumerate() {
        if position < child.len {
            return Some((at, position));
        }
        position -= child.len;
    }
    None
}

impl<T: Copy> Node<T> {
    fn len(&self) -> usize {
        match self {
            Self::Leaf(items) => items.len(),
            Self::Branch(children) => children.iter().map(|child| child.len).sum(),
        }
    }

    fn first(&self) -> Option<T> {
        match self {
            Self::Leaf(items) => items.first().copied(),
            Self::Branch(children) => children.first().map(|child| child.first),
        }
    }

    /// Items or children.
    fn width(&self) -> usize {
        match self {
            Self::Leaf(items) => items.len(),
            Self::Branch(children) => children.len(),
        }
    }

    fn replace(&mut self, position: usize, item: T) {
        match self {
            Self::Leaf(items) => items[position] = item,
            Self::Branch(children) => {
                let (at, position) = child_of(children, position).expect("a position that exists");
                children[at].node.replace(position, item);
                children[at].refresh();
            }
        }
    }

    /// Returns the right half of a node that had to be split.
    fn insert(&mut self, position: usize, item: T) -> Option<Self> {
        match self {
            Self::Leaf(items) => {
                let right = (items.len() == WIDTH).then(|| split(items, position));
                match right {
                    Some(mut right) if position > items.len() || items.len() == WIDTH => {
                        right.insert(position - items.len(), item);
                        Some(Self::Leaf(right))
                    }
                    right => {
                        items.insert(position, item);
                        right.map(Self::Leaf)
                    }
                }
            }
            Self::Branch(children) => {
                // Behind the last item of a child still belongs to that child.
                let inside = child_of(children, position.saturating_sub(1));
                let (at, inside) = inside.expect("a position that exists");
                let split_off = children[at].node.insert(inside + usize::from(position > 0), item);
                children[at].refresh();
                let new = Child::new(split_off?);
                let right = (children.len() == WIDTH).then(|| split(children, at + 1));
                match right {
                    Some(mut right) if at + 1 > children.len() || children.len() == WIDTH => {
                        right.insert(at + 1 - children.len(), new);
                        Some(Self::Branch(right))
                    }
                    right => {
                        children.insert(at + 1, new);
                        right.map(Self::Branch)
                    }
                }
            }
        }
    }

    fn remove(&mut self, position: usize) {
        match self {
            Self::Leaf(items) => {
                items.remove(position);
            }
            Self::Branch(children) => {
                let (at, position) = child_of(children, position).expect("a position that exists");
                children[at].node.remove(position);
                children[at].refresh();
                if children[at].len == 0 {
                    children.remove(at);
                    return;
                }
                let width = |at: usize| children.get(at).map(|child| child.node.width());
                let fits = |left: usize, right: usize| {
                    width(left).zip(width(right)).is_some_and(|(a, b)| a + b <= WIDTH / 2)
                };
                let left = if fits(at, at + 1) {
                    at
                } else if at > 0 && fits(at - 1, at) {
                    at - 1
                } else {
                    return;
                };
                let right = children.remove(left + 1);
                children[left].node.append(*right.node);
                children[left].refresh();
            }
        }
    }

    /// Takes what a neighbour to the right of the same height holds.
    fn append(&mut self, right: Self) {
        match (self, right) {
            (Self::Leaf(items), Self::Leaf(more)) => items.extend(more),
            (Self::Branch(children), Self::Branch(more)) => children.extend(more),
            _ => unreachable!("invariant: neighbours have one height"),
        }
    }

    fn range(&self, start: usize, end: usize, out: &mut Vec<T>) {
        match self {
            Self::Leaf(items) => {
                let end = end.min(items.len());
                out.extend_from_slice(&items[start.min(end)..end]);
            }
            Self::Branch(children) => {
                let mut before = 0;
                for child in children {
                    if before >= end {
                        break;
                    }
                    if before + child.len > start {
                        child.node.range(start.saturating_sub(before), end - before, out);
                    }
                    before += child.len;
                }
            }
        }
    }
}

/// Splits a full node into which something comes at `position`. What only grows at its end keeps
/// its nodes full.
fn split<I>(items: &mut Vec<I>, position: usize) -> Vec<I> {
    let at = if position == items.len() { items.len() } else { items.len() / 2 };
    let right = items.split_off(at);
    items.shrink_to_fit();
    right
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Checks what a node keeps of its children, and returns its height.
    fn check<T: Copy + PartialEq + std::fmt::Debug>(node: &Node<T>) -> usize {
        let Node::Branch(children) = node else { return 0 };
        assert!((1..=WIDTH).contains(&children.len()));
        let mut heights = children.iter().map(|child| {
            assert!(child.len > 0 && child.node.width() <= WIDTH);
            assert_eq!((child.len, Some(child.first)), (child.node.len(), child.node.first()));
            check(&child.node)
        });
        let height = heights.next().expect("a child");
        assert!(heights.all(|other| other == height));
        height + 1
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(prop::sample::Index, u32),
        Remove(prop::sample::Index),
        Replace(prop::sample::Index, u32),
        /// Many at once, so that the tree gets several levels.
        Append(usize),
        Drain(prop::sample::Index, usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        let index = any::<prop::sample::Index>;
        prop_oneof![
            4 => (index(), any::<u32>()).prop_map(|(at, item)| Step::Insert(at, item)),
            4 => index().prop_map(Step::Remove),
            2 => (index(), any::<u32>()).prop_map(|(at, item)| Step::Replace(at, item)),
            1 => (0..3_000_usize).prop_map(Step::Append),
            1 => (index(), 0..2_000_usize).prop_map(|(at, count)| Step::Drain(at, count)),
        ]
    }

    fn apply(sequence: &mut Sequence<u32>, naive: &mut Vec<u32>, step: Step) {
        match step {
            Step::Insert(at, item) => {
                let at = at.index(naive.len() + 1);
                sequence.insert(at, item);
                naive.insert(at, item);
            }
            Step::Remove(at) if !naive.is_empty() => {
                let at = at.index(naive.len());
                sequence.remove(at);
                naive.remove(at);
            }
            Step::Replace(at, item) if !naive.is_empty() => {
                let at = at.index(naive.len());
                sequence.replace(at, item);
                naive[at] = item;
            }
            Step::Append(count) => {
                for item in 0..count as u32 {
                    sequence.insert(naive.len(), item);
                    naive.push(item);
                }
            }
            Step::Drain(at, count) if !naive.is_empty() => {
                let at = at.index(naive.len());
                for _ in at..naive.len().min(at + count) {
                    sequence.remove(at);
                    naive.remove(at);
                }
            }
            Step::Remove(_) | Step::Replace(..) | Step::Drain(..) => {}
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 40, ..ProptestConfig::default() })]

        #[test]
        fn it_is_a_list(
            steps in prop::collection::vec(step(), 1..60),
            ranges in prop::collection::vec(any::<[prop::sample::Index; 2]>(), 10),
        ) {
            let (mut sequence, mut naive) = (Sequence::default(), Vec::new());
            for step in steps {
                apply(&mut sequence, &mut naive, step);
                check(&sequence.root);
                prop_assert_eq!(sequence.len(), naive.len());
            }
            prop_assert_eq!(&sequence.range(0, usize::MAX), &naive);
            for [start, end] in ranges {
                let (start, end) = (start.index(naive.len() + 2), end.index(naive.len() + 2));
                let expected: Vec<u32> =
                    naive.iter().copied().take(end).skip(start).collect();
                prop_assert_eq!(sequence.range(start, end), expected);
            }
        }

        #[test]
        fn positions_are_found_by_bisection(mut items in prop::collection::vec(0..500_u32, 0..3_000)) {
            items.sort_unstable();
            let sequence: Sequence<u32> = items.iter().copied().collect();
            for bound in [0, 1, 77, 250, 499, 500] {
                prop_assert_eq!(
                    sequence.partition_point(|item| item < bound),
                    items.partition_point(|item| *item < bound)
                );
            }
        }
    }

    #[test]
    fn what_grows_at_its_end_fills_its_nodes() {
        let sequence: Sequence<u32> = (0..64 * 64 * 2).collect();
        let Node::Branch(children) = &sequence.root else { panic!("a leaf") };
        assert_eq!(children.len(), 2);
        assert!(children.iter().all(|child| child.node.width() == WIDTH));
    }
}
