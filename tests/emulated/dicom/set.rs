//! The set of real files: what its list calls storable is stored and given back byte by byte; the others are refused with a reason.

use fs_err as fs;
use serde_json::Value;

use super::{AS_STORED, Bed, instances};
use crate::support::data;

#[tokio::test]
async fn every_storable_file_of_the_set_is_stored_and_described() {
    let Some(set) = data::set("dicom") else {
        return;
    };
    let list = fs::read_to_string(set.join("MANIFEST.tsv")).unwrap();
    let bed = Bed::new().await;
    let (mut stored, mut again, mut refused, mut bulk, mut frames) = (0, 0, 0, 0, 0);
    for row in list.lines().skip(1) {
        let row: Vec<&str> = row.split('\t').collect();
        let [
            path,
            _,
            preamble,
            _,
            _,
            _,
            patient,
            study,
            series,
            uid,
            class,
            _,
        ] = row[..]
        else {
            panic!("{row:?}");
        };
        let bytes = fs::read(set.join(path)).unwrap();
        let send = async || bed.store("/dicomWeb/studies", &[&bytes]).await;
        let (mut status, mut answer) = send().await;
        let is_storable = preamble == "True"
            && [study, series, uid, class]
                .iter()
                .all(|part| !part.is_empty());
        if !is_storable {
            refused += 1;
            assert_eq!(status, 409, "{path}");
            let failed = &answer["00081198"]["Value"][0];
            assert_eq!(failed["00081197"]["Value"][0], 0xC000, "{path}");
            assert!(
                failed["00091097"]["Value"][0]
                    .as_str()
                    .is_some_and(|why| !why.is_empty())
            );
            continue;
        }
        let url = format!("/dicomWeb/studies/{study}/series/{series}/instances/{uid}");
        if status == 409 {
            // Another file of the same UIDs stands there: it is not touched.
            again += 1;
            let failed = &answer["00081198"]["Value"][0];
            assert_eq!(failed["00081197"]["Value"][0], 272, "{path}: {answer}");
            let deleted = bed.client.delete(bed.url(&url)).send().await.unwrap();
            assert_eq!(deleted.status(), 200, "{path}");
            (status, answer) = send().await;
        }
        stored += 1;
        assert_eq!(
            (status, instances(&answer, "00081199")),
            (200, vec![uid.to_owned()]),
            "{path}"
        );
        let back = bed.get(&url, "application/dicom; transfer-syntax=*").await;
        assert!(back.bytes().await.unwrap() == bytes, "{path}");
        let (status, described) = bed.json(&format!("{url}/metadata")).await;
        assert_eq!(status, 200, "{path}");
        let text = |tag: &str| {
            described[0][tag]["Value"][0]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        assert_eq!(
            (text("0020000D"), text("00080016")),
            (study.to_owned(), class.to_owned()),
            "{path}"
        );
        // Also where the file is cut, deflated, big endian, or of a transfer syntax that nobody knows.
        assert_eq!(text("00100020"), patient, "{path}");
        for element in described[0].as_object().unwrap().values() {
            if element["vr"] == "AT" {
                // Eight digits, as PS3.18 has it.
                let tag = element["Value"][0].as_str().unwrap_or("00000000");
                assert!(
                    tag.len() == 8 && u32::from_str_radix(tag, 16).is_ok(),
                    "{path}: {tag}"
                );
            }
            if let Some(uri) = element["BulkDataURI"].as_str() {
                bulk += 1;
                let answer = bed.client.get(uri).send().await.unwrap();
                assert_eq!(answer.status(), 200, "{path}: {uri}");
                assert!(answer.bytes().await.unwrap().len() > 4_096, "{path}");
            }
        }
        let kind = "multipart/related; type=\"application/octet-stream\"; transfer-syntax=*";
        let frame = bed.get(&format!("{url}/frames/1"), kind).await;
        let status = frame.status().as_u16();
        assert!(matches!(status, 200 | 404 | 406), "{path}: {status}");
        if status == 200 {
            frames += 1;
            assert!(frame.bytes().await.unwrap().len() > 200, "{path}");
        }
    }
    assert_eq!((stored, refused), (242, 33));
    println!("{again} under UIDs that were there, {bulk} bulk data, {frames} first frames");
    let (_, counts) = bed.json(":getDICOMStoreMetrics").await;
    let count = |of: &str| -> u64 { Value::as_str(&counts[of]).unwrap().parse().unwrap() };
    let distinct = (
        count("instanceCount"),
        count("studyCount"),
        count("seriesCount"),
    );
    assert_eq!(distinct, (242 - again, 62, 77));
    // A whole study at once.
    let (_, studies) = bed.json("/dicomWeb/studies?limit=1").await;
    let study = studies[0]["0020000D"]["Value"][0].as_str().unwrap();
    let whole = bed
        .get(&format!("/dicomWeb/studies/{study}"), AS_STORED)
        .await;
    assert_eq!(whole.status(), 200);
    bed.server.stop().await;
}
