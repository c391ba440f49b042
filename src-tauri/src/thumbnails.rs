//! Small pictures of finished images and videos, for the rows and their details.
//!
//! Files come from anywhere, so a picture is made under limits: of the file, of its pixels, of memory, of time, and one at
//! a time. What goes beyond them has no picture, only the icon of its kind. The page names a transfer, never a path, and
//! gets the bytes themselves: no protocol of its own, no folder opened to it, no change to its content policy.

use std::io::{Cursor, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use base64::Engine as _;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder as _, ImageFormat, ImageReader, Limits};
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

/// The longer side of a picture, in pixels: sharp in the details on a screen of double density.
const SIDE: u32 = 320;
/// Larger image files are not opened.
const LARGEST_IMAGE: u64 = 100 * 1024 * 1024;
/// More pixels than this are not decoded: some 120 MB for a moment.
const MOST_PIXELS: u64 = 40_000_000;
/// Neither side may be longer.
const LONGEST_SIDE: u32 = 30_000;
/// Memory that a decoder may ask for, in bytes.
const MOST_MEMORY: u64 = 192 * 1024 * 1024;
/// How long the platform's program may take for a frame of a video.
const VIDEO_TIME: Duration = Duration::from_secs(8);
/// What a video may be packed in, by ffmpeg's names.
const CONTAINERS: &str = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi";
/// What its pictures may be packed in: decoders that cameras and editors are served by, and that many eyes look at. ffmpeg
/// has some hundred more, of games and of the nineties.
const DECODERS: &str = "h264,hevc,vp8,vp9,av1,libdav1d,mpeg4,mpeg2video,mjpeg,prores,dnxhd";
/// A frame of [`SIDE`] is much smaller.
const LARGEST_FRAME: u64 = 2 * 1024 * 1024;
/// What the cache may hold.
const MOST_KEPT: usize = 1000;
/// Sent to the page as text; larger ones are not worth it.
const LARGEST_PICTURE: usize = 128 * 1024;

/// What a file is, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Image,
    Video,
}

fn kind_of(path: &Path) -> Option<Kind> {
    let extension = path.extension()?.to_str()?.to_ascii_lowercase();
    match extension.as_str() {
        "jpg" | "jpeg" | "png" | "gif" | "webp" => Some(Kind::Image),
        "mp4" | "m4v" | "mov" | "mkv" | "webm" | "avi" => Some(Kind::Video),
        _ => None,
    }
}

/// Makes and keeps them.
#[derive(Debug)]
pub(crate) struct Thumbnails {
    folder: PathBuf,
    /// One at a time: a list that is scrolled must not take the machine.
    turn: Semaphore,
    /// The program for videos, if the platform has it and a cage for it.
    ffmpeg: Result<PathBuf, String>,
}

impl Thumbnails {
    /// Keeps pictures in the data folder's cache.
    pub fn new(data_dir: &Path) -> Self {
        let folder = data_dir.join("cache").join("thumbnails");
        Self { folder, turn: Semaphore::new(1), ffmpeg: caged_program("ffmpeg") }
    }

    /// Why videos have no pictures here, if they have none.
    pub fn missing_for_videos(&self) -> Option<&str> {
        self.ffmpeg.as_ref().err().map(String::as_str)
    }

    /// A JPEG or PNG of the file; `None` when there is none to be had.
    pub async fn of(&self, file: PathBuf) -> Option<Vec<u8>> {
        let kind = kind_of(&file)?;
        let _turn = self.turn.acquire().await.ok()?;
        let (folder, ffmpeg) = (self.folder.clone(), self.ffmpeg.clone().ok());
        tokio::task::spawn_blocking(move || {
            let kept = folder.join(name_for(&file)?);
            if let Ok(bytes) = std::fs::read(&kept) {
                // An empty one says that the file has no picture.
                return Some(bytes).filter(|bytes| !bytes.is_empty());
            }
            // A decoder that trips over hostile bytes must not take a thread of the pool with it.
            let made = std::panic::catch_unwind(|| match kind {
                Kind::Image => of_image(&file),
                Kind::Video => of_video(ffmpeg.as_deref()?, &file),
            });
            let made = made.ok().flatten().filter(|bytes| bytes.len() <= LARGEST_PICTURE);
            keep(&kept, made.as_deref().unwrap_or_default());
            made
        })
        .await
        .ok()
        .flatten()
    }
}

/// A picture as the page takes it: its content policy allows `data:` images and nothing else from outside.
pub(crate) fn as_url(bytes: &[u8]) -> String {
    let kind = if bytes.starts_with(b"\x89PNG") { "png" } else { "jpeg" };
    format!("data:image/{kind};base64,{}", base64::engine::general_purpose::STANDARD.encode(bytes))
}

/// Another content under the same name has another picture.
fn name_for(file: &Path) -> Option<String> {
    let facts = std::fs::metadata(file).ok().filter(std::fs::Metadata::is_file)?;
    let modified = facts.modified().ok()?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    let mut hasher = Sha256::new();
    hasher.update(file.as_os_str().as_encoded_bytes());
    hasher.update(facts.len().to_le_bytes());
    hasher.update(modified.as_nanos().to_le_bytes());
    Some(hasher.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect())
}

/// Writes a picture into the cache and lets the oldest go when there are too many. Without it, it is made again.
fn keep(kept: &Path, bytes: &[u8]) {
    let Some(folder) = kept.parent() else { return };
    if ferry_engine::make_private_folder(folder).is_err() || ferry_engine::write_whole(kept, bytes).is_err() {
        return;
    }
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let mut all: Vec<(SystemTime, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    if all.len() <= MOST_KEPT {
        return;
    }
    all.sort_unstable();
    // A tenth at once, so that this does not happen with every picture.
    for (_, path) in all.iter().take(all.len() - MOST_KEPT * 9 / 10) {
        let _ = std::fs::remove_file(path);
    }
}

fn of_image(file: &Path) -> Option<Vec<u8>> {
    let facts = std::fs::metadata(file).ok()?;
    if facts.len() > LARGEST_IMAGE {
        return None;
    }
    // What the bytes say counts, not the name.
    let reader = ImageReader::open(file).ok()?.with_guessed_format().ok()?;
    shrunk(reader)
}

fn shrunk<R: std::io::BufRead + std::io::Seek>(mut reader: ImageReader<R>) -> Option<Vec<u8>> {
    let mut limits = Limits::default();
    limits.max_image_width = Some(LONGEST_SIDE);
    limits.max_image_height = Some(LONGEST_SIDE);
    limits.max_alloc = Some(MOST_MEMORY);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().ok()?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MOST_PIXELS || decoder.total_bytes() > MOST_MEMORY {
        return None;
    }
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let whole = DynamicImage::from_decoder(decoder).ok()?;
    let mut small = if width.max(height) > SIDE { whole.thumbnail(SIDE, SIDE) } else { whole };
    small.apply_orientation(orientation);
    let mut bytes = Cursor::new(Vec::new());
    if small.color().has_alpha() {
        DynamicImage::from(small.to_rgba8()).write_to(&mut bytes, ImageFormat::Png).ok()?;
    } else {
        DynamicImage::from(small.to_rgb8()).write_to(&mut bytes, ImageFormat::Jpeg).ok()?;
    }
    Some(bytes.into_inner())
}

/// Asks ffmpeg for a frame near the beginning. It is told to read this one file, in these formats alone, and nothing that
/// the file may name; should the file talk it into something else, its cage has no network and no other file.
fn of_video(ffmpeg: &Path, file: &Path) -> Option<Vec<u8>> {
    let file = file.canonicalize().ok()?;
    let mut input = std::ffi::OsString::from("file:");
    input.push(&file);
    let mut command = Command::new(ffmpeg);
    command
        .args(["-nostdin", "-loglevel", "quiet", "-threads", "1", "-max_alloc", "268435456"])
        .args(["-protocol_whitelist", "file", "-format_whitelist", CONTAINERS, "-codec_whitelist", DECODERS])
        .args(["-max_pixels", &MOST_PIXELS.to_string(), "-an", "-sn", "-dn"])
        .arg("-i")
        .arg(input)
        .args(["-map", "0:v:0", "-frames:v", "1", "-filter_threads", "1", "-vf"])
        .arg(format!("thumbnail=25,scale={SIDE}:{SIDE}:force_original_aspect_ratio=decrease"))
        .args(["-threads", "1", "-c:v", "png", "-f", "image2pipe", "pipe:1"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    lock(&mut command, &file).ok()?;
    let mut child = command.spawn().ok()?;
    let output = child.stdout.take()?;
    let reading = std::thread::spawn(move || {
        let mut frame = Vec::new();
        output.take(LARGEST_FRAME).read_to_end(&mut frame).map(|_| frame)
    });
    let in_time = ends_in_time(&mut child, VIDEO_TIME);
    let frame = reading.join().ok()?.ok()?;
    if !in_time {
        return None;
    }
    shrunk(ImageReader::with_format(Cursor::new(frame), ImageFormat::Png))
}

#[cfg(target_os = "linux")]
use crate::cage::lock;

/// Other systems have no cage that Ferry could use, so that nothing is started there.
#[cfg(not(target_os = "linux"))]
fn lock(_command: &mut Command, _file: &Path) -> Result<(), String> {
    Err("no cage".into())
}

/// The program, or why it is not used.
fn caged_program(name: &str) -> Result<PathBuf, String> {
    #[cfg(target_os = "linux")]
    let missing = crate::cage::missing();
    #[cfg(not(target_os = "linux"))]
    let missing = Some("this system has none".to_owned());
    match missing {
        Some(why) => Err(format!("no cage for {name}: {why}")),
        None => find_program(name).ok_or_else(|| format!("no {name}")),
    }
}

/// Waits for a program, and ends it when it takes too long.
fn ends_in_time(child: &mut Child, limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return status.success(),
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(20)),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return false;
            }
        }
    }
}

/// A program on the search path, only where that names full paths: the current folder is nobody's to trust.
fn find_program(name: &str) -> Option<PathBuf> {
    let name = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(&name))
        .find(|program| program.is_file())
}

#[cfg(test)]
mod tests {
    use image::{ImageBuffer, Rgb, Rgba};

    use super::*;

    fn runtime<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
    }

    fn size_of(bytes: &[u8]) -> (u32, u32) {
        let image = image::load_from_memory(bytes).unwrap();
        (image.width(), image.height())
    }

    #[test]
    fn a_picture_is_small_keeps_its_shape_and_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("wide.jpg");
        ImageBuffer::from_pixel(1600, 400, Rgb([200_u8, 30, 40])).save(&file).unwrap();
        let thumbnails = Thumbnails::new(folder.path());
        let first = runtime(thumbnails.of(file.clone())).unwrap();
        assert_eq!(size_of(&first), (320, 80));
        assert!(first.starts_with(&[0xff, 0xd8]), "a JPEG");

        // The second comes from the cache.
        let kept =
            std::fs::read_dir(folder.path().join("cache/thumbnails")).unwrap().flatten().next().unwrap();
        std::fs::write(kept.path(), b"kept").unwrap();
        assert_eq!(runtime(thumbnails.of(file.clone())).unwrap(), b"kept");

        // Another content is another picture.
        ImageBuffer::from_pixel(200, 100, Rgba([0_u8, 0, 0, 9])).save(file.with_extension("png")).unwrap();
        let clear = runtime(thumbnails.of(file.with_extension("png"))).unwrap();
        assert_eq!(size_of(&clear), (200, 100));
        assert!(clear.starts_with(b"\x89PNG"), "what is see-through stays so");
    }

    #[test]
    fn what_is_no_image_or_too_much_has_none() {
        let folder = tempfile::tempdir().unwrap();
        let thumbnails = Thumbnails::new(folder.path());
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        };
        // A PNG of a few bytes that says that it is 30,000 × 30,000 pixels large.
        let mut bomb = Vec::new();
        ImageBuffer::from_pixel(1, 1, Rgb([0_u8; 3]))
            .write_to(&mut Cursor::new(&mut bomb), ImageFormat::Png)
            .unwrap();
        bomb[16..24].copy_from_slice(&[0, 0, 0x75, 0x30, 0, 0, 0x75, 0x30]);
        let crc = crc32(&bomb[12..29]);
        bomb[29..33].copy_from_slice(&crc.to_be_bytes());
        for path in [
            write("bomb.png", &bomb),
            write("text.jpg", b"no image at all"),
            write("empty.gif", b""),
            write("page.html", b"<img>"),
            folder.path().join("missing.png"),
            folder.path().to_owned(),
        ] {
            let began = Instant::now();
            assert_eq!(runtime(thumbnails.of(path.clone())), None, "{}", path.display());
            assert!(began.elapsed() < Duration::from_secs(2), "{}", path.display());
        }
    }

    /// The checksum of a PNG's chunks.
    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0_u32, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
                if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 }
            })
        })
    }

    #[test]
    fn the_cache_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..MOST_KEPT {
            std::fs::write(folder.path().join(format!("{number}")), b"").unwrap();
        }
        keep(&folder.path().join("newest"), b"x");
        let left = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, MOST_KEPT * 9 / 10);
        assert!(folder.path().join("newest").exists());
    }

    #[test]
    fn a_video_shows_a_frame_and_a_playlist_shows_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let thumbnails = Thumbnails::new(folder.path());
        // The machines that test have it; a machine without it has nothing to show.
        let Ok(ffmpeg) = &thumbnails.ffmpeg else { return };
        let video = folder.path().join("film.mp4");
        let made = Command::new(ffmpeg)
            .args(["-loglevel", "quiet", "-f", "lavfi", "-i", "testsrc=size=640x360:duration=1:rate=5"])
            .args(["-c:v", "mpeg4"])
            .arg(&video)
            .status()
            .unwrap();
        assert!(made.success());
        let picture = runtime(thumbnails.of(video.clone())).unwrap();
        assert_eq!(size_of(&picture), (320, 180));
        let list = folder.path().join("list.mp4");
        std::fs::write(&list, format!("#EXTM3U\n#EXTINF:1,\nfile:{}\n#EXT-X-ENDLIST\n", video.display()))
            .unwrap();
        assert_eq!(runtime(thumbnails.of(list)), None);
    }

    #[test]
    fn only_listed_decoders_are_let_at_a_video() {
        let folder = tempfile::tempdir().unwrap();
        let thumbnails = Thumbnails::new(folder.path());
        let Ok(ffmpeg) = &thumbnails.ffmpeg else { return };
        let mut refused = 0;
        for (codec, ending, listed) in [
            ("mjpeg", "avi", true),
            ("mpeg4", "mkv", true),
            ("mpeg2video", "mov", true),
            ("zmbv", "avi", false),
            ("cinepak", "avi", false),
            ("cinepak", "mov", false),
            ("exr", "mkv", false),
            ("ffv1", "mkv", false),
            ("flv", "avi", false),
            ("rawvideo", "avi", false),
            ("qtrle", "mov", false),
            ("magicyuv", "avi", false),
        ] {
            let video = folder.path().join(format!("{codec}.{ending}"));
            let made = Command::new(ffmpeg)
                .args(["-loglevel", "quiet", "-f", "lavfi", "-i", "testsrc=size=64x48:duration=1:rate=5"])
                .args(["-c:v", codec])
                .arg(&video)
                .status()
                .unwrap();
            // Not every build can write every format.
            if !made.success() {
                assert!(!listed, "{codec}");
                continue;
            }
            refused += usize::from(!listed);
            assert_eq!(runtime(thumbnails.of(video)).is_some(), listed, "{codec} in {ending}");
        }
        assert!(refused > 3, "too little was tried");
    }

    #[test]
    #[cfg(unix)]
    fn a_program_that_takes_too_long_is_ended() {
        let began = Instant::now();
        let mut child = Command::new("sleep").arg("30").spawn().unwrap();
        assert!(!ends_in_time(&mut child, Duration::from_millis(100)));
        assert!(began.elapsed() < Duration::from_secs(5));
    }
}
