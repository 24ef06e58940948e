//! Objects, apart from the rows that name them.

use bytes::Bytes;
use std::path::Path;
use store::{Objects, ObjectsChoice, ObjectsFault, S3Choice, S3Credentials};
use testkit::{S3Server, SmallDisk};

const MIB: usize = 1 << 20;

pub(crate) fn bucket(s3: &S3Server, credentials: &str) -> ObjectsChoice {
    ObjectsChoice::S3(Box::new(S3Choice {
        bucket: s3.bucket().to_owned(),
        endpoint: Some(s3.url().parse().unwrap()),
        region: None,
        prefix: "ours/here".to_owned(),
        path_style: true,
        credentials: S3Credentials::parse(credentials).unwrap(),
        roots: tls::Roots::default(),
    }))
}

/// Bytes that differ wherever one looks.
fn bytes(length: usize) -> Bytes {
    (0..length).map(|at| (at / 251 + at) as u8).collect()
}

fn files_in(dir: &Path) -> Vec<String> {
    let (mut files, mut dirs) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                files.push(path.display().to_string());
            }
        }
    }
    files
}

#[tokio::test]
async fn what_is_written_in_pieces_of_any_length_is_one_object() {
    let dir = tempfile::tempdir().unwrap();
    let objects = Objects::open(&ObjectsChoice::Directory, dir.path()).unwrap();
    // Around one part and around two, and nothing at all.
    for length in [0, 1, 8 * MIB - 1, 8 * MIB, 8 * MIB + 1, 16 * MIB, 17 * MIB] {
        let (whole, mut at) = (bytes(length), 0);
        let mut writer = objects.writer("a/b");
        for piece in [0, 5, 3 * MIB, 9 * MIB, usize::MAX] {
            let end = length.min(at + piece.min(length));
            writer.put(whole.slice(at..end)).await.unwrap();
            at = end;
        }
        writer.put(whole.slice(at..)).await.unwrap();
        assert_eq!(writer.finish().await.unwrap(), length as u64);
        // Of nothing there is no range that could be read.
        let same = length == 0 || objects.read("a/b", 0..length as u64).await.unwrap() == whole;
        assert!(same, "{length}");
    }
    assert_eq!(files_in(dir.path()).len(), 1);
}

/// It has parts by then, which are cleaned up once.
#[tokio::test]
async fn a_large_object_whose_store_goes_away_at_the_end_is_told_as_failed() {
    let test = "a_large_object_whose_store_goes_away_at_the_end_is_told_as_failed";
    let Some(mut s3) = S3Server::start(test) else { return };
    let dir = tempfile::tempdir().unwrap();
    let objects = Objects::open(&bucket(&s3, &s3.credentials()), dir.path()).unwrap();
    let whole = bytes(9 * MIB);
    let mut writer = objects.writer("logs/0/1.gz");
    writer.put(whole.clone()).await.unwrap();
    s3.crash();
    let fault = writer.finish().await.unwrap_err();
    assert!(matches!(fault, ObjectsFault::Failed { .. }), "{fault:?}");
    s3.restart();
    let mut writer = objects.writer("logs/0/1.gz");
    writer.put(whole.clone()).await.unwrap();
    assert_eq!(writer.finish().await.unwrap(), whole.len() as u64);
    assert!(objects.read("logs/0/1.gz", 0..whole.len() as u64).await.unwrap() == whole);
}

#[tokio::test]
async fn a_large_object_that_there_is_no_room_for_leaves_nothing() {
    let test = "a_large_object_that_there_is_no_room_for_leaves_nothing";
    let Some(disk) = SmallDisk::mount(test, 32 << 20) else { return };
    let data = disk.path().join("data");
    let objects = Objects::open(&ObjectsChoice::Directory, &data).unwrap();
    disk.fill(4 << 20);
    // Found out at the end, or before it.
    for length in [9, 40] {
        let mut writer = objects.writer("logs/0/1.gz");
        let fault = match writer.put(bytes(length * MIB)).await {
            Ok(()) => writer.finish().await.unwrap_err(),
            Err(fault) => {
                writer.abort().await;
                fault
            }
        };
        assert!(fault.is_full(), "{length}: {fault:?}");
        assert_eq!(files_in(&data), [""; 0], "{length}");
    }
    disk.make_room();
    let mut writer = objects.writer("logs/0/1.gz");
    writer.put(bytes(9 * MIB)).await.unwrap();
    writer.finish().await.unwrap();
}
