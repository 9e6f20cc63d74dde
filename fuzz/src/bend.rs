//! Files that changed behind our back.
//!
//! In: decisions of the fuzzer. Out: the same bytes with pieces overwritten, copied, filled or cut off.
//! Left out on purpose: inserted bytes. Disks lose and mix up blocks, they do not push them along.

use std::ops::Range;

use arbitrary::Arbitrary;

/// One thing that happens to one of several files.
#[derive(Debug, Arbitrary)]
pub struct Change<'a> {
    file: u8,
    at: u16,
    how: How<'a>,
}

#[derive(Debug, Arbitrary)]
enum How<'a> {
    Flip(u8),
    Overwrite(&'a [u8]),
    Fill { byte: u8, len: u16 },
    Copy { from_file: u8, from: u16, len: u16 },
    Cut,
    Append(&'a [u8]),
}

/// What a change can have touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touched {
    /// Which of the files.
    pub file: usize,
    /// Which bytes; to the end of everything where the file was cut.
    pub bytes: Range<usize>,
    /// Whether they were replaced by other bytes of the same file, which may be whole there too.
    pub moved: bool,
}

impl Change<'_> {
    /// Changes one of `files`; nothing where there is none, or no such byte.
    pub fn apply(&self, files: &mut [Vec<u8>]) -> Option<Touched> {
        let file = usize::from(self.file).checked_rem(files.len())?;
        let piece = self.piece(files)?;
        let moved =
            matches!(self.how, How::Copy { from_file, .. } if usize::from(from_file) % files.len() == file);
        let content = &mut files[file];
        let at = usize::from(self.at).checked_rem(content.len())?;
        let bytes = match &self.how {
            How::Cut => {
                content.truncate(at);
                at..usize::MAX
            }
            How::Append(_) => {
                content.extend(&piece);
                content.len()..content.len()
            }
            How::Flip(_) | How::Overwrite(_) | How::Fill { .. } | How::Copy { .. } => {
                let end = content.len().min(at + piece.len());
                content[at..end].copy_from_slice(&piece[..end - at]);
                at..end
            }
        };
        Some(Touched { file, bytes, moved })
    }

    fn piece(&self, files: &[Vec<u8>]) -> Option<Vec<u8>> {
        let of = |file: u8| &files[usize::from(file) % files.len()];
        Some(match &self.how {
            How::Cut => Vec::new(),
            How::Append(bytes) | How::Overwrite(bytes) => bytes.to_vec(),
            How::Fill { byte, len } => vec![*byte; usize::from(*len)],
            How::Flip(bits) => {
                let content = of(self.file);
                let at = usize::from(self.at).checked_rem(content.len())?;
                vec![content[at] ^ bits]
            }
            How::Copy { from_file, from, len } => {
                let content = of(*from_file);
                let from = usize::from(*from).checked_rem(content.len())?;
                content[from..content.len().min(from + usize::from(*len))].to_vec()
            }
        })
    }
}
