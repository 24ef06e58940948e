//! What a job left, on its page.

use super::Visitor;
use crate::artifacts::{leaving, put, taken};
use crate::harness::Harness;
use crate::source::SourceRepo;
use reqwest::Method;
use secrecy::ExposeSecret;

/// Names as hostile as a job's files can have, as they stand in a path.
const FILES: [(&str, &str); 3] = [
    ("%3Cb%20id%3Devil%3E%22'%26.html", "&lt;b id=evil&gt;&quot;'&amp;.html"),
    ("deep%3F/%C3%A4%23%252F..txt", "deep?/ä#%2F..txt"),
    ("report.xml", "report.xml"),
];

/// The links of a page to what it hands out, in their order.
fn links(page: &str) -> Vec<String> {
    let links = page.split("href=\"").skip(1).map(|after| after.split('"').next().unwrap());
    let handed_out = |link: &&str| link.contains("/artifacts/") || link.starts_with("/uploads/");
    links.filter(handed_out).map(|link| link.replace("&amp;", "&")).collect()
}

#[tokio::test]
async fn a_job_s_page_hands_out_what_it_left() {
    let harness = Harness::start().await;
    let source = SourceRepo::new();
    harness.add_repository("app", &source.path()).await;
    let (job, _) = taken(&harness, &leaving(&[("all", "**")])).await;
    let visitor = Visitor::with_token(&harness, harness.server.api_token().expose_secret()).await;
    let page = format!("/jobs/{}", job.id);
    assert_eq!(links(&visitor.get(&page).await.body), Vec::<String>::new());
    for (file, _) in FILES {
        assert_eq!(put(&harness, &job, &format!("all/{file}"), &format!("<b>{file}</b>")).await.0, 200);
    }
    let index = crate::uploads::upload_one_of(&harness, "app", job.id.0).await;
    let told = visitor.get(&page).await.body;
    for (_, shown) in FILES {
        assert!(told.contains(&format!("<bdi>{shown}</bdi>")), "{shown}: {told}");
    }
    let links = links(&told);
    assert_eq!(links.len(), 4, "{links:?}");
    let mut contents = Vec::new();
    for link in &links {
        let response = visitor.request(Method::GET, link).send().await.unwrap();
        assert_eq!(response.status(), 200, "{link}");
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header("content-type"), "application/octet-stream", "{link}");
        assert_eq!(header("x-content-type-options"), "nosniff", "{link}");
        assert_eq!(header("content-security-policy"), "default-src 'none'; sandbox", "{link}");
        assert_eq!(header("cache-control"), "no-store", "{link}");
        assert!(header("content-disposition").starts_with("attachment; filename=\""), "{link}");
        contents.push(response.bytes().await.unwrap().to_vec());
    }
    for (file, _) in FILES {
        assert!(contents.contains(&format!("<b>{file}</b>").into_bytes()), "{file}");
    }
    assert_eq!(links[3], format!("/uploads/{index}/content"));
    assert_eq!(contents[3], crate::uploads::content(&harness, index).await);
    // Whoever was cut goes on there.
    let part = visitor.request(Method::GET, &links[0]).header("Range", "bytes=1-2").send().await.unwrap();
    assert_eq!((part.status().as_u16(), part.headers()["content-length"].to_str().unwrap()), (206, "2"));
    // Nobody without a session is given any of it.
    let nobody = Visitor::new(&harness);
    for link in &links {
        let told = nobody.get(link).await;
        assert!(told.status == 303 && told.location.starts_with("/sign-in"), "{link}: {}", told.status);
    }
    let none = visitor.get(&format!("{page}/artifacts/all/none")).await;
    assert!(none.status == 404 && none.body.contains("There is no such artifact"), "{}", none.body);
}
