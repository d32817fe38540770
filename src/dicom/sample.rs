//! Instances made up: tiny ones for samples and tests, large ones written in a stream.
//!
//! The bytes are Part 10 in explicit VR little endian: a secondary capture with grey pixels of eight bits. Nothing is
//! random: the same description gives the same bytes.

use std::io::{self, Write};

use super::header::EXPLICIT;

/// Secondary capture, the class of the written instances.
pub const SOP_CLASS: &str = "1.2.840.10008.5.1.4.1.1.7";

/// The description of an instance to make.
#[derive(Debug, Clone, Copy)]
pub struct SampleInstance<'a> {
    /// The study.
    pub study: &'a str,
    /// The series.
    pub series: &'a str,
    /// The instance.
    pub instance: &'a str,
    /// The modality, such as `DX`.
    pub modality: &'a str,
    /// The patient's name, such as `Rivera^Ana`.
    pub name: &'a str,
    /// The patient's id.
    pub patient: &'a str,
    /// The date of the study, such as `20240314`.
    pub date: &'a str,
    /// The description of the study.
    pub description: &'a str,
    /// The number of the instance in its series.
    pub number: u32,
    /// Rows of pixels.
    pub rows: u16,
    /// Columns of pixels.
    pub columns: u16,
    /// The number of frames.
    pub frames: u32,
}

/// Writes an instance; no more than a piece of it is in memory. A sample whose pixels are too many for the length of an
/// element is refused.
pub fn write(sample: &SampleInstance<'_>, to: &mut impl Write) -> io::Result<()> {
    let frame = u64::from(sample.rows) * u64::from(sample.columns);
    let pixels = frame * u64::from(sample.frames);
    let padded = pixels + pixels % 2;
    let length = u32::try_from(padded)
        .ok()
        .filter(|length| *length < u32::MAX);
    let length = length.ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            "an instance holds less than 4 GiB of pixels",
        )
    })?;
    let mut meta = Vec::new();
    long(&mut meta, 0x0002, 0x0001, *b"OB", &[0, 1])?;
    text(&mut meta, 0x0002, 0x0002, *b"UI", SOP_CLASS)?;
    text(&mut meta, 0x0002, 0x0003, *b"UI", sample.instance)?;
    text(&mut meta, 0x0002, 0x0010, *b"UI", EXPLICIT)?;
    text(&mut meta, 0x0002, 0x0012, *b"UI", "2.25.20240314")?;
    to.write_all(&[0; 128])?;
    to.write_all(super::element::MARK)?;
    let size = u32::try_from(meta.len()).map_err(io::Error::other)?;
    short(to, 0x0002, 0x0000, *b"UL", &size.to_le_bytes())?;
    to.write_all(&meta)?;
    text(to, 0x0008, 0x0005, *b"CS", "ISO_IR 192")?;
    text(to, 0x0008, 0x0016, *b"UI", SOP_CLASS)?;
    text(to, 0x0008, 0x0018, *b"UI", sample.instance)?;
    text(to, 0x0008, 0x0020, *b"DA", sample.date)?;
    text(to, 0x0008, 0x0030, *b"TM", "")?;
    text(to, 0x0008, 0x0050, *b"SH", "")?;
    text(to, 0x0008, 0x0060, *b"CS", sample.modality)?;
    text(to, 0x0008, 0x0090, *b"PN", "")?;
    text(to, 0x0008, 0x1030, *b"LO", sample.description)?;
    text(to, 0x0010, 0x0010, *b"PN", sample.name)?;
    text(to, 0x0010, 0x0020, *b"LO", sample.patient)?;
    text(to, 0x0020, 0x000D, *b"UI", sample.study)?;
    text(to, 0x0020, 0x000E, *b"UI", sample.series)?;
    text(to, 0x0020, 0x0013, *b"IS", &sample.number.to_string())?;
    short(to, 0x0028, 0x0002, *b"US", &1_u16.to_le_bytes())?;
    text(to, 0x0028, 0x0004, *b"CS", "MONOCHROME2")?;
    if sample.frames > 1 {
        text(to, 0x0028, 0x0008, *b"IS", &sample.frames.to_string())?;
    }
    short(to, 0x0028, 0x0010, *b"US", &sample.rows.to_le_bytes())?;
    short(to, 0x0028, 0x0011, *b"US", &sample.columns.to_le_bytes())?;
    short(to, 0x0028, 0x0100, *b"US", &8_u16.to_le_bytes())?;
    short(to, 0x0028, 0x0101, *b"US", &8_u16.to_le_bytes())?;
    short(to, 0x0028, 0x0102, *b"US", &7_u16.to_le_bytes())?;
    short(to, 0x0028, 0x0103, *b"US", &0_u16.to_le_bytes())?;
    head(to, 0x7FE0, 0x0010, *b"OB", length)?;
    // A ramp of greys, a piece at a time.
    let mut ramp = [0_u8; 1 << 13];
    for (value, place) in (0..=u8::MAX).cycle().zip(ramp.iter_mut()) {
        *place = value;
    }
    let mut rest = padded;
    while rest > 0 {
        let piece = usize::try_from(rest).map_or(ramp.len(), |rest| rest.min(ramp.len()));
        to.write_all(ramp.get(..piece).unwrap_or_default())?;
        rest -= piece as u64;
    }
    Ok(())
}

fn text(to: &mut impl Write, group: u16, element: u16, vr: [u8; 2], value: &str) -> io::Result<()> {
    let mut bytes = value.as_bytes().to_vec();
    if bytes.len() % 2 == 1 {
        bytes.push(if vr == *b"UI" { 0 } else { b' ' });
    }
    short(to, group, element, vr, &bytes)
}

fn short(
    to: &mut impl Write,
    group: u16,
    element: u16,
    vr: [u8; 2],
    value: &[u8],
) -> io::Result<()> {
    let length = u16::try_from(value.len()).map_err(io::Error::other)?;
    to.write_all(&group.to_le_bytes())?;
    to.write_all(&element.to_le_bytes())?;
    to.write_all(&vr)?;
    to.write_all(&length.to_le_bytes())?;
    to.write_all(value)
}

fn long(
    to: &mut impl Write,
    group: u16,
    element: u16,
    vr: [u8; 2],
    value: &[u8],
) -> io::Result<()> {
    let length = u32::try_from(value.len()).map_err(io::Error::other)?;
    head(to, group, element, vr, length)?;
    to.write_all(value)
}

fn head(to: &mut impl Write, group: u16, element: u16, vr: [u8; 2], length: u32) -> io::Result<()> {
    to.write_all(&group.to_le_bytes())?;
    to.write_all(&element.to_le_bytes())?;
    to.write_all(&vr)?;
    to.write_all(&[0, 0])?;
    to.write_all(&length.to_le_bytes())
}
