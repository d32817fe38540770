//! Import and export: through the folder that stands for Cloud Storage, byte by byte.

use fs_err as fs;
use serde_json::json;

use super::{Bed, instance};

#[tokio::test]
async fn instances_are_exported_and_imported_byte_by_byte() {
    let bed = Bed::new().await;
    let bytes = [instance(1, 1, 1), instance(1, 2, 3), instance(2, 1, 1)];
    let all: Vec<&[u8]> = bytes.iter().map(Vec::as_slice).collect();
    assert_eq!(bed.store("/dicomWeb/studies", &all).await.0, 200);
    let request = json!({ "gcsDestination": { "uriPrefix": "gs://b/out" } });
    let operation = bed.operate(":export", &request).await.unwrap();
    assert_eq!(operation["metadata"]["counter"]["success"], "3");
    assert_eq!(
        operation["response"]["@type"],
        "type.googleapis.com/google.cloud.healthcare.v1.dicom.ExportDicomDataResponse"
    );
    let out = bed.dir.path().join("buckets/b/out");
    let second = out.join("1.2.1/1.2.1.1/1.2.1.1.2.dcm");
    assert_eq!(fs::read(&second).unwrap(), bytes[1]);
    // Some of them, by a list.
    let list = "/studies/1.2.2\r\n\r\n/studies/1.2.1/series/1.2.1.1/instances/1.2.1.1.1\n";
    fs::write(bed.dir.path().join("buckets/b/list"), list).unwrap();
    let request = |prefix: &str, mime: &str| {
        json!({
            "gcsDestination": { "uriPrefix": prefix, "mimeType": mime },
            "filterConfig": { "resourcePathsGcsUri": "gs://b/list" },
        })
    };
    let mime = "application/dicom; transfer-syntax=*";
    let some = bed.operate(":export", &request("gs://b/some", mime)).await;
    assert_eq!(some.unwrap()["metadata"]["counter"]["success"], "2");
    assert!(
        !bed.dir
            .path()
            .join("buckets/b/some/1.2.1/1.2.1.1/1.2.1.1.2.dcm")
            .exists()
    );
    // Nothing is transcoded.
    let mime = "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.50";
    let none = bed
        .operate(":export", &request("gs://b/none", mime))
        .await
        .unwrap();
    assert_eq!(none["metadata"]["counter"]["failure"], "2");
    assert_eq!(none["error"]["code"], 3);
    let refused = bed
        .operate(":export", &request("gs://b/none", "image/png"))
        .await;
    assert_eq!(refused.unwrap_err().0, 400);

    // What is there is passed over; what was deleted comes back; what is no instance is counted.
    let one = "/dicomWeb/studies/1.2.1/series/1.2.1.1/instances/1.2.1.1.2";
    let deleted = bed.client.delete(bed.url(one)).send().await.unwrap();
    assert_eq!(deleted.status(), 200);
    let import = |uri: &str| json!({ "gcsSource": { "uri": uri } });
    let operation = bed
        .operate(":import", &import("gs://b/out/**.dcm"))
        .await
        .unwrap();
    assert_eq!(operation["metadata"]["counter"], json!({ "success": "3" }));
    let back = bed.get(one, "application/dicom; transfer-syntax=*").await;
    assert_eq!(back.bytes().await.unwrap(), bytes[1]);
    fs::write(out.join("notes.dcm"), "no instance").unwrap();
    let operation = bed
        .operate(":import", &import("gs://b/out/**"))
        .await
        .unwrap();
    assert_eq!(
        operation["metadata"]["counter"],
        json!({ "failure": "1", "success": "3" })
    );
    assert_eq!(operation["error"]["code"], 3);
    let operation = bed
        .operate(":import", &import("gs://b/nothing/*"))
        .await
        .unwrap();
    assert_eq!(operation["error"]["code"], 3);
    for (verb, request) in [
        (":import", json!({})),
        (":import", import("gs://b/../x")),
        (":export", json!({})),
        (
            ":export",
            json!({ "bigqueryDestination": { "tableUri": "bq://p.d.t" } }),
        ),
    ] {
        let refused = bed.operate(verb, &request).await;
        assert_eq!(refused.unwrap_err().0, 400, "{verb} {request}");
    }
    assert_eq!(
        bed.json("/dicomWeb/instances")
            .await
            .1
            .as_array()
            .unwrap()
            .len(),
        3
    );
    bed.server.stop().await;
}
