//! Whatever is written, settled and cut off: what is whole and not settled comes back, in order, once.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::path::Path;

use proptest::prelude::*;

use super::super::entry::{HEADER, MAGIC};
use super::*;

/// A folder that goes with the test.
pub(in crate::telemetry::delivery) struct Folder(pub(in crate::telemetry::delivery) PathBuf);

impl Folder {
    pub(in crate::telemetry::delivery) fn new() -> Self {
        Self(std::env::temp_dir().join(format!("cruddur-spool-{}", uuid::Uuid::new_v4())))
    }

    fn files(&self) -> Vec<PathBuf> {
        files(&self.0).unwrap().into_iter().map(|file| file.path).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

impl Store {
    /// Opens a folder, and goes through it.
    pub(in crate::telemetry::delivery) fn open(
        folder: PathBuf,
        segment_size: u64,
        budget: Budget,
    ) -> io::Result<(Self, Found)> {
        let mut store = Self::list(folder, segment_size, budget)?;
        let found = store.go_through().unwrap_or_default();
        Ok((store, found))
    }
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// What the test knows of an item.
#[derive(Debug, Clone)]
struct Item {
    body: Vec<u8>,
    file: PathBuf,
    /// Where it ends in its file.
    end: u64,
    /// Where its mark ends.
    settled: Option<u64>,
}

/// How many marks are written behind a place's own, where all `places` are settled at once: one for each run of numbers in
/// a file.
fn marks_behind(places: &[Place], place: &Place) -> usize {
    let same = |other: &&Place| (other.rank, other.segment) == (place.rank, place.segment);
    let numbers: Vec<_> = places.iter().filter(same).map(|place| place.number).collect();
    let begins_a_run = |pair: &&[u32]| pair[1] > place.number && pair[0] + 1 != pair[1];
    numbers.windows(2).filter(begins_a_run).count()
}

/// A store, and what must be in it.
struct Model {
    folder: Folder,
    store: Store,
    budget: Budget,
    written: u64,
    /// In the order of their writing.
    items: Vec<Item>,
    /// In memory: places, and the items' bodies.
    out: Vec<(Vec<Place>, Vec<Vec<u8>>)>,
}

const SEGMENT: u64 = 400;

impl Model {
    fn new() -> Self {
        let (folder, budget) = (Folder::new(), Budget::new(u64::MAX));
        let (store, found) = Store::open(folder.0.clone(), SEGMENT, budget.clone()).unwrap();
        assert_eq!(found, Found::default());
        Self { folder, store, budget, written: 0, items: Vec::new(), out: Vec::new() }
    }

    fn append(&mut self, ranks: &[(Rank, usize)], out: bool) {
        let mut group = Group::default();
        let mut bodies = Vec::new();
        for (rank, length) in ranks {
            let body = [&self.written.to_le_bytes(), vec![7; *length].as_slice()].concat();
            self.written += 1;
            group.add(*rank, 1, out, |into| into.extend_from_slice(&body));
            bodies.push(body);
        }
        let sizes = group.sizes();
        // The clock stands, so that sequences must do without it.
        let (fates, failure) = self.store.append(group, [true; RANKS], 1_000);
        assert!(failure.is_none(), "{failure:?}");
        sizes.iter().for_each(|size| self.budget.take(*size as u64));
        let places: Vec<_> = fates
            .iter()
            .map(|fate| if let Fate::Kept(place) = fate { *place } else { panic!("{fate:?}") })
            .collect();
        let mut after = sizes;
        for ((place, body), (rank, _)) in places.iter().zip(&bodies).zip(ranks) {
            let file = path(&self.folder.0, place.segment, *rank);
            let left = &mut after[*rank as usize];
            *left -= HEADER + body.len();
            let end = length(&file) - *left as u64;
            self.items.push(Item { body: body.clone(), file, end, settled: None });
        }
        if out {
            self.out.push((places, bodies));
        }
    }

    fn read(&mut self, most: usize) {
        let mut bodies = Vec::new();
        let taken = self.store.read(most, |stored| {
            bodies.push(stored.body.to_vec());
            Seen::Taken
        });
        assert_eq!((taken.places.len(), taken.lost.len()), (bodies.len(), 0));
        let known: BTreeSet<_> = self.out.iter().flat_map(|(_, bodies)| bodies).collect();
        let waiting = self.items.iter().filter(|item| item.settled.is_none() && !known.contains(&item.body));
        let expected: Vec<_> = waiting.map(|item| item.body.clone()).take(most).collect();
        assert_eq!(bodies, expected);
        self.out.push((taken.places, bodies));
    }

    fn settle(&mut self, which: usize) {
        if self.out.is_empty() {
            return;
        }
        let (places, bodies) = self.out.swap_remove(which % self.out.len());
        self.store.settle(&places);
        for item in &mut self.items {
            let Some(at) = bodies.iter().position(|body| *body == item.body) else { continue };
            let later = marks_behind(&places, &places[at]) * HEADER;
            item.settled = Some(length(&item.file).saturating_sub(later as u64));
        }
        self.items.retain(|item| item.file.exists());
    }

    /// The process is killed, and a file loses its end.
    fn crash(&mut self, cut: Option<(usize, u64)>) {
        let files = self.folder.files();
        let cut = cut.filter(|_| !files.is_empty());
        let mut torn = false;
        if let Some((which, bytes)) = cut {
            let file = &files[which % files.len()];
            let left = length(file).saturating_sub(bytes);
            OpenOptions::new().write(true).open(file).unwrap().set_len(left).unwrap();
            for item in self.items.iter_mut().filter(|item| item.file == *file) {
                item.settled = item.settled.filter(|end| *end <= left);
            }
            let before = self.items.len();
            self.items.retain(|item| item.file != *file || item.end <= left);
            torn = self.items.len() < before;
        }
        self.out.clear();
        self.budget = Budget::new(u64::MAX);
        let found;
        (self.store, found) = Store::open(self.folder.0.clone(), SEGMENT, self.budget.clone()).unwrap();
        assert!(found.strange.is_empty() && (torn || found.spoilt == 0), "{found:?}");
        assert_eq!(found.items as usize, self.items.iter().filter(|item| item.settled.is_none()).count());
        self.items.retain(|item| item.file.exists());
    }

    fn check(&self) {
        let on_disk: u64 = self.folder.files().iter().map(|file| length(file)).sum();
        assert_eq!((self.store.bytes(), self.budget.used()), (on_disk, on_disk));
        let left = self.items.iter().filter(|item| item.settled.is_none()).count() as u64;
        assert_eq!(self.store.left().items, left);
        let out: usize = self.out.iter().map(|(places, _)| places.len()).sum();
        assert_eq!(self.store.unread().0.items, left - out as u64);
        assert_eq!(self.store.oldest().is_some(), left > 0);
    }
}

#[derive(Debug, Clone)]
enum Step {
    Append(Vec<(Rank, usize)>, bool),
    Read(usize),
    Settle(usize),
    Crash(Option<(usize, u64)>),
}

fn ranks() -> impl Strategy<Value = Vec<(Rank, usize)>> {
    prop::collection::vec((prop::sample::select(&Rank::ALL[..]), 0_usize..120), 1..8)
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (ranks(), prop::bool::weighted(0.2)).prop_map(|(ranks, out)| Step::Append(ranks, out)),
        3 => (0_usize..12).prop_map(Step::Read),
        3 => any::<usize>().prop_map(Step::Settle),
        1 => Just(Step::Crash(None)),
        1 => (any::<usize>(), 0_u64..300).prop_map(|cut| Step::Crash(Some(cut))),
    ];
    prop::collection::vec(step, 1..40)
}

#[test]
fn a_mark_that_is_cut_takes_none_before_it_along() {
    let mut model = Model::new();
    for out in [false, true, false] {
        model.append(&[(Rank::Notable, 0)], out);
    }
    // The first and the third, of which each has a mark of its own.
    model.read(2);
    model.settle(1);
    model.crash(Some((0, 1)));
    model.check();
    assert_eq!(model.store.left().items, 2);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_whole_and_not_settled_comes_back_in_order_and_once(steps in steps()) {
        let mut model = Model::new();
        for step in steps {
            match step {
                Step::Append(ranks, out) => model.append(&ranks, out),
                Step::Read(most) => model.read(most),
                Step::Settle(which) => model.settle(which),
                Step::Crash(cut) => model.crash(cut),
            }
            model.check();
        }
        model.crash(None);
        model.read(usize::MAX);
        while !model.out.is_empty() {
            model.settle(0);
        }
        model.check();
        prop_assert!(model.folder.files().is_empty(), "{:?}", model.folder.files());
    }

    #[test]
    fn what_is_spoilt_costs_no_more_than_what_it_hits(
        ranks in ranks(),
        which: usize,
        at: usize,
        over in prop::collection::vec(1..=255_u8, 1..100),
    ) {
        let mut model = Model::new();
        model.append(&ranks, false);
        let files = model.folder.files();
        let file = &files[which % files.len()];
        let mut bytes = fs::read(file).unwrap();
        let at = at % bytes.len();
        let end = bytes.len().min(at + over.len());
        bytes[at..end].iter_mut().zip(&over).for_each(|(byte, over)| *byte ^= over);
        fs::write(file, &bytes).unwrap();
        let (mut store, found) =
            Store::open(model.folder.0.clone(), SEGMENT, Budget::new(u64::MAX)).unwrap();
        let mut bodies = Vec::new();
        let taken = store.read(usize::MAX, |stored| {
            bodies.push(stored.body.to_vec());
            Seen::Taken
        });
        let begins = |item: &Item| item.end - (HEADER + item.body.len()) as u64;
        let is_hit = |item: &Item| item.file == *file && item.end > at as u64 && begins(item) < end as u64;
        let is_safe = |item: &&Item| if at < MAGIC.len() { item.file != *file } else { !is_hit(item) };
        let safe: Vec<_> = model.items.iter().filter(is_safe).map(|item| item.body.clone()).collect();
        prop_assert_eq!(&bodies, &safe);
        if at < MAGIC.len() {
            prop_assert_eq!(found.strange.len(), 1);
        } else {
            let corrupt: u64 = taken.lost.iter().map(|(_, items)| items).sum();
            let hit = (model.items.len() - safe.len()) as u64;
            let counted = found.spoilt + corrupt;
            // What nothing is left of but its place is counted by the measure of the others.
            prop_assert!(if over.len() == 1 { counted == 1 } else { counted > 0 }, "{counted} of {hit}");
        }
    }
}

#[test]
fn what_is_worth_least_is_thrown_away_first_and_then_the_oldest() {
    use Rank::{Detail, Notable, Routine};
    let mut model = Model::new();
    for rank in [Notable, Routine, Detail, Notable, Detail, Routine] {
        // Each fills a file.
        model.append(&[(rank, 350)], false);
    }
    let mut order = Vec::new();
    while let Some(victim) = model.store.victim() {
        order.push((victim.0, model.store.evict(victim)));
    }
    let expected = [Detail, Detail, Routine, Routine, Notable, Notable].map(|rank| (rank, 1));
    assert_eq!(order, expected);
    assert_eq!(model.budget.used(), 0);
    assert!(model.folder.files().is_empty());
}

#[test]
fn what_is_in_memory_is_not_thrown_away() {
    let mut model = Model::new();
    model.append(&[(Rank::Detail, 350)], false);
    model.append(&[(Rank::Notable, 350)], false);
    model.read(1);
    assert_eq!(model.store.victim().map(|(rank, _)| rank), Some(Rank::Notable));
}

#[test]
fn a_file_of_another_version_is_left_alone() {
    let folder = Folder::new();
    fs::create_dir_all(&folder.0).unwrap();
    let file = path(&folder.0, 7, Rank::Routine);
    fs::write(&file, b"cruddur\x02 and what only that version knows").unwrap();
    let (store, found) = Store::open(folder.0.clone(), SEGMENT, Budget::new(u64::MAX)).unwrap();
    assert_eq!(found.strange, [format!("{} is not of this version", file.display())]);
    assert_eq!((store.bytes(), store.left().items), (0, 0));
    assert!(file.exists());
}

#[test]
fn a_disk_that_takes_nothing_fails_items_and_keeps_the_rest() {
    let mut model = Model::new();
    model.append(&[(Rank::Notable, 10)], false);
    // The next file cannot be made.
    model.store.segment_size = 0;
    model.store.folder = model.folder.0.join("gone");
    let mut group = Group::default();
    group.add(Rank::Notable, 1, false, |into| into.push(1));
    let (fates, failure) = model.store.append(group, [true; RANKS], 1_000);
    assert_eq!((fates, failure.is_some()), (vec![Fate::Failed], true));
    model.store.folder = model.folder.0.clone();
    model.append(&[(Rank::Notable, 10)], false);
    model.read(9);
    assert_eq!(model.out[0].1.len(), 2);
}

#[cfg(unix)]
#[test]
fn nobody_else_can_read_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut model = Model::new();
    model.append(&[(Rank::Notable, 10)], false);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&model.folder.0), mode(&model.folder.files()[0])), (0o700, 0o600));
}

#[test]
fn a_file_that_is_spoilt_meanwhile_holds_up_nobody() {
    let mut model = Model::new();
    model.append(&[(Rank::Notable, 350)], false);
    model.append(&[(Rank::Notable, 350)], false);
    let files = model.folder.files();
    fs::write(&files[0], [MAGIC.to_vec(), vec![0; 400]].concat()).unwrap();
    let taken = model.store.read(9, |_| Seen::Taken);
    assert_eq!((taken.places.len(), taken.lost, taken.unreadable), (1, vec![(CORRUPT, 1)], false));
}

#[test]
fn what_the_disk_does_not_give_now_is_given_later() {
    let mut model = Model::new();
    model.append(&[(Rank::Notable, 10), (Rank::Notable, 20)], false);
    let Model { folder, store, .. } = model;
    drop(store);
    let (mut store, _) = Store::open(folder.0.clone(), SEGMENT, Budget::new(u64::MAX)).unwrap();
    let [file] = &folder.files()[..] else { panic!("one file") };
    let aside = file.with_extension("aside");
    fs::rename(file, &aside).unwrap();
    // It can be opened for nothing.
    fs::create_dir(file).unwrap();
    let taken = store.read(10, |_| Seen::Taken);
    assert!(taken.unreadable && taken.places.is_empty() && taken.lost.is_empty());
    fs::remove_dir(file).unwrap();
    fs::rename(&aside, file).unwrap();
    let taken = store.read(10, |_| Seen::Taken);
    assert_eq!((taken.unreadable, taken.places.len()), (false, 2));
}
