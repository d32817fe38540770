//! Columns: long lists of plain values, in memory up to a limit, in files beyond it.
//!
//! A plan keeps some numbers of every record and of every reference, and a load an id of every record. The part of them
//! that is more than `memory` allows goes into mapped files that have no name: they are read and written like memory, the
//! kernel writes them out and takes their pages away when it needs them, and they are gone with the process, whatever ends
//! that. The meaning of the numbers is the business of those who keep them.

use std::{
    fmt, io,
    ops::{Deref, DerefMut},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use memmap2::{MmapMut, MmapOptions};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A value that is its bytes, whatever these are.
pub trait Pod: FromBytes + IntoBytes + Immutable + KnownLayout + Copy {}

impl<T: FromBytes + IntoBytes + Immutable + KnownLayout + Copy> Pod for T {}

/// Columns of at most this size, in bytes, always stay in memory: they are not worth a file.
const SMALL: usize = 64 << 10;

/// By how many bytes a file grows at a time. At every growth it is mapped anew, and the pages of what was written are no
/// longer this process's.
const GROWTH: std::ops::Range<usize> = 1 << 20..16 << 20;

/// The memory that the columns of a plan or of a load may take together, and the directory of the files of the others.
#[derive(Debug)]
pub struct MemoryBudget {
    limit: u64,
    used: AtomicU64,
    directory: PathBuf,
    failure: Mutex<Option<String>>,
}

impl MemoryBudget {
    /// Gives room for `limit` bytes in memory; the files beyond it are made in `directory`.
    pub fn new(limit: u64, directory: &Path) -> Arc<Self> {
        Arc::new(Self {
            limit,
            used: AtomicU64::new(0),
            directory: directory.to_owned(),
            failure: Mutex::default(),
        })
    }

    /// Gives room without a limit.
    #[cfg(test)]
    pub(crate) fn endless() -> Arc<Self> {
        Self::new(u64::MAX, Path::new(""))
    }

    /// Returns an error if a column that should have gone into a file could not. It is whole all the same, in memory.
    pub fn check(&self) -> io::Result<()> {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        match failure.as_ref() {
            Some(why) => Err(io::Error::other(format!(
                "{why} (what is more than `memory` allows is kept on the disk)"
            ))),
            None => Ok(()),
        }
    }

    fn fail(&self, error: &io::Error) {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.get_or_insert_with(|| error.to_string());
    }

    /// Takes a part of the memory, if there is as much.
    fn take(&self, bytes: usize) -> bool {
        let taken = |used: u64| {
            let used = used.saturating_add(bytes as u64);
            (used <= self.limit).then_some(used)
        };
        let order = Ordering::Relaxed;
        self.used.fetch_update(order, order, taken).is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes as u64, Ordering::Relaxed);
    }
}

/// Makes a file that only this process can see: it has no name any more, and is gone with the process.
pub fn nameless_file(directory: &Path) -> io::Result<fs_err::File> {
    use fs_err::os::unix::fs::OpenOptionsExt as _;
    let path = directory.join(format!(".draft-{}", uuid::Uuid::new_v4().simple()));
    let file = fs_err::OpenOptions::new()
        .create_new(true)
        .read(true)
        .write(true)
        .mode(0o600)
        .open(&path)?;
    fs_err::remove_file(&path)?;
    Ok(file)
}

/// A list of values, read and written as a slice.
pub struct SpillVec<T: Pod> {
    held: Backing<T>,
    /// The number of bytes that it took of the room.
    taken: usize,
    room: Arc<MemoryBudget>,
}

enum Backing<T> {
    Memory(Vec<T>),
    File(Mapped),
}

impl<T: Pod> SpillVec<T> {
    /// Makes a column that holds nothing.
    pub fn new(room: &Arc<MemoryBudget>) -> Self {
        Self {
            held: Backing::Memory(Vec::new()),
            taken: 0,
            room: Arc::clone(room),
        }
    }

    /// Makes a column of `length` equal values.
    pub fn filled(room: &Arc<MemoryBudget>, value: T, length: usize) -> Self {
        let mut column = Self::new(room);
        column.reserve(length);
        match &mut column.held {
            Backing::Memory(values) => values.resize(length, value),
            Backing::File(mapped) => mapped.length = length * size_of::<T>(),
        }
        column.fill(value);
        column
    }

    /// Adds a value.
    pub fn push(&mut self, value: T) {
        self.reserve(1);
        match &mut self.held {
            Backing::Memory(values) => values.push(value),
            Backing::File(mapped) => {
                mapped.length += size_of::<T>();
                if let Some(last) = self.last_mut() {
                    *last = value;
                }
            }
        }
    }

    /// Adds values.
    pub fn extend(&mut self, values: impl IntoIterator<Item = T>) {
        values.into_iter().for_each(|value| self.push(value));
    }

    /// Lets go of all values but the first ones.
    pub fn truncate(&mut self, length: usize) {
        match &mut self.held {
            Backing::Memory(values) => values.truncate(length),
            Backing::File(mapped) => {
                mapped.length = std::cmp::min(mapped.length, length * size_of::<T>());
            }
        }
    }

    /// Makes place for more values.
    fn reserve(&mut self, more: usize) {
        let size = size_of::<T>();
        match &mut self.held {
            Backing::Memory(values) => {
                let free = values.capacity() - values.len();
                if free >= more {
                    return;
                }
                let more = std::cmp::max(more - free, values.capacity());
                let bytes = (values.capacity() + more) * size;
                if bytes <= SMALL || self.room.take(more * size) {
                    self.taken += if bytes <= SMALL { 0 } else { more * size };
                    values.reserve_exact(free + more);
                    return;
                }
                match Mapped::make(&self.room.directory, values.as_bytes(), bytes) {
                    Ok(mapped) => {
                        self.room.give_back(std::mem::take(&mut self.taken));
                        self.held = Backing::File(mapped);
                    }
                    Err(error) => {
                        self.room.fail(&error);
                        values.reserve(more);
                    }
                }
            }
            Backing::File(mapped) => {
                if mapped.map.len() - mapped.length >= more * size {
                    return;
                }
                if let Err(error) = mapped.grow(more * size) {
                    self.room.fail(&error);
                    let mut values = self.to_vec();
                    values.reserve(more);
                    self.held = Backing::Memory(values);
                }
            }
        }
    }
}

impl<T: Pod> Deref for SpillVec<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match &self.held {
            Backing::Memory(values) => values,
            // A map begins at the start of a page, and holds whole values: this never fails.
            Backing::File(mapped) => mapped
                .map
                .get(..mapped.length)
                .and_then(|bytes| <[T]>::ref_from_bytes(bytes).ok())
                .unwrap_or_default(),
        }
    }
}

impl<T: Pod> DerefMut for SpillVec<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match &mut self.held {
            Backing::Memory(values) => values,
            Backing::File(mapped) => mapped
                .map
                .get_mut(..mapped.length)
                .and_then(|bytes| <[T]>::mut_from_bytes(bytes).ok())
                .unwrap_or_default(),
        }
    }
}

impl<T: Pod> Drop for SpillVec<T> {
    fn drop(&mut self) {
        self.room.give_back(self.taken);
    }
}

// Its values are as many as the records of a plan.
impl<T: Pod> fmt::Debug for SpillVec<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Column")
            .field("length", &self.len())
            .field("in_file", &matches!(self.held, Backing::File(_)))
            .finish_non_exhaustive()
    }
}

/// A file that is read and written like memory.
struct Mapped {
    file: fs_err::File,
    map: MmapMut,
    /// The number of bytes of the file that hold values.
    length: usize,
}

impl Mapped {
    /// Makes a file of these bytes, with room for at least `in_all` bytes in all.
    fn make(directory: &Path, bytes: &[u8], in_all: usize) -> io::Result<Self> {
        let file = nameless_file(directory)?;
        file.file().write_all_at(bytes, 0)?;
        let size = std::cmp::max(in_all, bytes.len() + GROWTH.start);
        lengthen(&file, bytes.len(), size)?;
        Ok(Self {
            map: map(&file, size)?,
            file,
            length: bytes.len(),
        })
    }

    /// Makes room for at least `more` bytes beside those that are there.
    fn grow(&mut self, more: usize) -> io::Result<()> {
        let before = self.map.len();
        let size = before + before.clamp(GROWTH.start, GROWTH.end).max(more);
        lengthen(&self.file, before, size)?;
        self.map = map(&self.file, size)?;
        Ok(())
    }
}

/// Makes a file longer by writing to it: a disk that is full says so here, and not by a signal when the map is written to.
fn lengthen(file: &fs_err::File, from: usize, to: usize) -> io::Result<()> {
    let zeros = vec![0; GROWTH.start];
    let mut at = from;
    while at < to {
        let block = zeros.get(..std::cmp::min(to - at, zeros.len()));
        file.file()
            .write_all_at(block.unwrap_or_default(), at as u64)?;
        at += zeros.len();
    }
    Ok(())
}

#[expect(
    unsafe_code,
    reason = "the only way to map a file; nothing else here is unsafe"
)]
fn map(file: &fs_err::File, length: usize) -> io::Result<MmapMut> {
    // SAFETY: a mapped file must not be changed or made shorter by others. This one has no name, and its descriptor never
    // leaves this module, which only makes it longer.
    unsafe { MmapOptions::new().len(length).map_mut(file.file()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn in_file<T: Pod>(column: &SpillVec<T>) -> bool {
        matches!(column.held, Backing::File(_))
    }

    #[test]
    fn what_is_more_than_the_room_goes_into_files_and_stays_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let room = MemoryBudget::new(1 << 20, folder.path());
        let mut small = SpillVec::new(&room);
        let mut large = SpillVec::new(&room);
        for n in 0..2_000_000_u32 {
            if n < 1_000 {
                small.push(u64::from(n));
            }
            large.push([n, n ^ 7, !n]);
        }
        assert!(!in_file(&small) && in_file(&large));
        assert_eq!(large.len(), 2_000_000);
        assert!((0..).zip(large.iter()).all(|(n, v)| *v == [n, n ^ 7, !n]));
        large.sort_unstable_by_key(|v| v[2]);
        let last = 1_999_999_u32;
        assert_eq!(large[0], [last, last ^ 7, !last]);
        large.truncate(3);
        large.extend([[1, 2, 3]]);
        assert_eq!(large.last(), Some(&[1, 2, 3]));
        assert_eq!(large.len(), 4);
        // A column that went into a file takes no room any more.
        let again = SpillVec::filled(&room, 7_u8, 900_000);
        assert!(!in_file(&again) && again.iter().all(|v| *v == 7));
        let beyond = SpillVec::filled(&room, 7_u8, 900_000);
        assert!(in_file(&beyond) && beyond.iter().all(|v| *v == 7) && beyond.len() == 900_000);
        drop(again);
        assert!(!in_file(&SpillVec::filled(&room, 7_u8, 900_000)));
        room.check().unwrap();
        assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn without_a_place_for_files_all_stays_in_memory_and_it_is_said() {
        let room = MemoryBudget::new(0, Path::new("/nowhere/at/all"));
        let mut column = SpillVec::new(&room);
        for n in 0..100_000_u32 {
            column.push(n);
        }
        assert!((0..100_000).eq(column.iter().copied()));
        let error = room.check().unwrap_err().to_string();
        assert!(error.contains("/nowhere/at/all") && error.contains("`memory`"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn a_column_is_a_list(
            steps in proptest::collection::vec((any::<u16>(), 0_usize..40_000), 1..12),
            limit in prop_oneof![Just(0), Just(200_000), Just(u64::MAX)],
        ) {
            let folder = tempfile::tempdir().unwrap();
            let room = MemoryBudget::new(limit, folder.path());
            let (mut column, mut list) = (SpillVec::new(&room), Vec::new());
            for (value, count) in steps {
                if value % 5 == 0 {
                    column.truncate(count);
                    list.truncate(count);
                } else {
                    column.extend((0..count).map(|n| n as u64 * u64::from(value)));
                    list.extend((0..count).map(|n| n as u64 * u64::from(value)));
                }
                prop_assert_eq!(&*column, &*list);
            }
        }
    }
}
