//! Import and export: many instances at a time, as files in the folder that stands for Cloud Storage, by an operation.
//!
//! An imported instance that is there already is passed over, as Google does: it is counted as done and not written
//! again. A file that is no instance is counted, and named in the log with the reason; it does not stop the others.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use fs_err::tokio as fs;

use super::super::app::App;
use super::super::buckets;
use super::super::files;
use super::super::google::{invalid, object, ok, text};
use super::super::operation::{Ended, Operation, Stopped};
use super::super::reply::{Refusal, Reply};
use super::super::route::dicom::{Path as Named, Place, Web, path};
use super::super::stores::Collected as _;
use super::super::stores::dicom::Store;
use super::receive::copy;
use super::response;
use super::rows::{self, Instance, Within};
use super::stow::{Fate, keep};

/// Instances read from the database at a time.
const TOGETHER: usize = 100;

/// The longest list of the instances to export, in bytes.
const LONGEST_LIST: u64 = 64 << 20;

/// Answers `import`.
pub(super) async fn import(
    app: &Arc<App>,
    store: &Arc<Store>,
    body: &[u8],
) -> Result<Reply, Refusal> {
    let request = object(body)?;
    let uri = text(&request, &["gcsSource", "uri"]);
    let uri = uri.ok_or_else(|| invalid("the field gcsSource.uri is required"))?;
    let found = buckets::objects(app.database.dir(), uri)?;
    let method = "google.cloud.healthcare.v1.dicom.DicomService.ImportDicomData";
    let (operation, answer) = Operation::begin(app, store.dataset(), method).await?;
    let (weak, store, uri) = (Arc::downgrade(app), Arc::clone(store), uri.to_owned());
    tokio::spawn(async move {
        let mut ended = Ended::default();
        let mut stopped = if found.is_empty() {
            let why = format!("invalid_argument: no matching objects found for URI {uri}");
            Err(Stopped::Failed(why))
        } else {
            import_all(&weak, &store, &found, &mut ended).await
        };
        if stopped.is_ok() && ended.failure > 0 {
            let why = "invalid_argument: importing one or more instances failed; the log of the local store names their files";
            stopped = Err(Stopped::Failed(why.to_owned()));
        }
        let response = "google.cloud.healthcare.v1.dicom.ImportDicomDataResponse";
        operation.conclude(&weak, ended, stopped, response).await;
    });
    Ok(ok(&answer))
}

async fn import_all(
    weak: &Weak<App>,
    store: &Arc<Store>,
    found: &[PathBuf],
    ended: &mut Ended,
) -> Result<(), Stopped> {
    for file in found {
        let app = weak.upgrade().ok_or(Stopped::Gone)?;
        let received = copy(&files::folder(&app), file).await?;
        for (_, fate) in keep(&app, store, None, vec![received], None).await? {
            match fate {
                Fate::Stored | Fate::There => ended.success += 1,
                Fate::Failed(_, why) => {
                    ended.failure += 1;
                    tracing::warn!(file = %file.display(), why, "an instance cannot be imported");
                }
            }
        }
    }
    Ok(())
}

/// The instances to export, and the folder to write them to.
struct Wanted {
    folder: PathBuf,
    /// The transfer syntax that they must have: nothing is transcoded.
    syntax: Option<String>,
    /// Every place alone; all instances of the store where none is named.
    places: Vec<Within>,
}

/// Answers `export`.
pub(super) async fn export(
    app: &Arc<App>,
    store: &Arc<Store>,
    body: &[u8],
) -> Result<Reply, Refusal> {
    let request = object(body)?;
    if request.contains_key("bigqueryDestination") {
        return Err(invalid("the local store exports to gcsDestination only"));
    }
    let prefix = text(&request, &["gcsDestination", "uriPrefix"]);
    let prefix = prefix.ok_or_else(|| invalid("the field gcsDestination.uriPrefix is required"))?;
    let places = match text(&request, &["filterConfig", "resourcePathsGcsUri"]) {
        Some(uri) => places(app, uri).await?,
        None => vec![Within::default()],
    };
    let wanted = Wanted {
        folder: buckets::folder(app.database.dir(), prefix)?,
        syntax: syntax(text(&request, &["gcsDestination", "mimeType"]).unwrap_or_default())?,
        places,
    };
    let method = "google.cloud.healthcare.v1.dicom.DicomService.ExportDicomData";
    let (operation, answer) = Operation::begin(app, store.dataset(), method).await?;
    let (weak, store) = (Arc::downgrade(app), Arc::clone(store));
    tokio::spawn(async move {
        let mut ended = Ended::default();
        let mut stopped = export_all(&weak, &store, &wanted, &mut ended).await;
        if stopped.is_ok() && ended.failure > 0 {
            let why = "invalid_argument: exporting one or more instances failed: they are not there, or not stored in the transfer syntax that is asked for";
            stopped = Err(Stopped::Failed(why.to_owned()));
        }
        let response = "google.cloud.healthcare.v1.dicom.ExportDicomDataResponse";
        operation.conclude(&weak, ended, stopped, response).await;
    });
    Ok(ok(&answer))
}

/// Reads in which form instances are wanted: as they are stored, or those alone that are stored so.
fn syntax(mime: &str) -> Result<Option<String>, Refusal> {
    if mime.is_empty() {
        return Ok(None);
    }
    match response::media(mime) {
        accepted if accepted.media == "application/dicom" => {
            Ok(accepted.transfer_syntax.filter(|syntax| syntax != "*"))
        }
        _ => Err(invalid(
            "the local store exports instances as they are stored: application/dicom; transfer-syntax=*",
        )),
    }
}

/// Reads the list of what is exported: `/studies/{}[/series/{}[/instances/{}]]` a line.
async fn places(app: &App, uri: &str) -> Result<Vec<Within>, Refusal> {
    let missing = || invalid(format!("no matching objects found for URI {uri}"));
    let found = buckets::objects(app.database.dir(), uri)?;
    let [file] = found.as_slice() else {
        return Err(missing());
    };
    let about = fs::metadata(file).await.map_err(|_| missing())?;
    if about.len() > LONGEST_LIST {
        return Err(invalid("the list of resource paths is longer than 64 MiB"));
    }
    let list = fs::read_to_string(file).await.map_err(|_| missing())?;
    let lines = list.lines().enumerate();
    let lines = lines.filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(number, line)| {
            let place = place(line.trim());
            place.ok_or_else(|| {
                invalid(format!(
                    "line {} of the list of resource paths is none: /studies/{{study}}[/series/{{series}}[/instances/{{instance}}]]",
                    number + 1
                ))
            })
        })
        .collect()
}

fn place(line: &str) -> Option<Within> {
    let steps: Vec<&str> = ["store", "dicomWeb"]
        .into_iter()
        .chain(line.strip_prefix('/')?.split('/'))
        .collect();
    let Named::Below { below: web, .. } = path(String::new(), &steps)? else {
        return None;
    };
    match web {
        web @ (Web::Study(_) | Web::OneSeries(..) | Web::Instance(..)) => {
            Place::of(web).as_ref().map(Within::from)
        }
        _ => None,
    }
}

async fn export_all(
    weak: &Weak<App>,
    store: &Arc<Store>,
    wanted: &Wanted,
    ended: &mut Ended,
) -> Result<(), Stopped> {
    for place in &wanted.places {
        let mut last = None;
        loop {
            let app = weak.upgrade().ok_or(Stopped::Gone)?;
            let (from, within) = (Arc::clone(store), place.clone());
            let after = last.unwrap_or(i64::MIN);
            let found = app
                .database
                .read(move |connection| rows::behind(connection, &from, &within, after, TOGETHER))
                .await?;
            // A place that is named and not there is not passed over in silence.
            if found.is_empty() && last.is_none() && place.study.is_some() {
                ended.failure += 1;
            }
            let Some((key, _)) = found.last() else { break };
            last = Some(*key);
            for (_, instance) in &found {
                let fits = wanted.syntax.as_ref();
                if fits.is_some_and(|syntax| *syntax != instance.syntax) {
                    ended.failure += 1;
                    continue;
                }
                let is_written = write(&files::folder(&app), &wanted.folder, instance).await?;
                ended.success += u64::from(is_written);
            }
        }
    }
    Ok(())
}

/// Writes `{study}/{series}/{instance}.dcm`, whole or not at all. One that is deleted meanwhile is not written, as if it had been
/// deleted before.
async fn write(from: &Path, to: &Path, instance: &Instance) -> Result<bool, Stopped> {
    let folder = to.join(&instance.study).join(&instance.series);
    fs::create_dir_all(&folder).await?;
    let unfinished = folder.join(format!(".{}.unfinished", instance.uid));
    match fs::copy(files::path(from, &instance.file), &unfinished).await {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error.into()),
    }
    fs::File::open(&unfinished).await?.sync_all().await?;
    fs::rename(&unfinished, folder.join(format!("{}.dcm", instance.uid))).await?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[test]
    fn what_is_exported_is_read_from_a_list() {
        let read = |line: &str| place(line).map(|within| (within.study, within.series));
        let of = |text: &str| Some(text.to_owned());
        assert_eq!(read("/studies/1"), Some((of("1"), None)));
        assert_eq!(read("/studies/1/series/2"), Some((of("1"), of("2"))));
        assert!(place("/studies/1/series/2/instances/3").is_some_and(|p| p.instance == of("3")));
        for none in [
            "studies/1",
            "/studies",
            "/studies/1/series",
            "/studies/1/metadata",
            "/",
        ] {
            assert!(place(none).is_none(), "{none}");
        }
    }

    #[test]
    fn nothing_is_transcoded() {
        let read = |mime: &str| syntax(mime).map_err(|refusal| refusal.status);
        assert_eq!(read(""), Ok(None));
        assert_eq!(read("application/dicom; transfer-syntax=*"), Ok(None));
        let named = "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.50";
        assert_eq!(read(named), Ok(Some("1.2.840.10008.1.2.4.50".to_owned())));
        assert_eq!(read("image/png"), Err(StatusCode::BAD_REQUEST));
    }
}
