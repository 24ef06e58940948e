//! Whether the control plane can be reached, is one, and takes us.

mod answer;
mod clock;
mod network;
mod proxy;
mod src_steps;
mod trust;
mod version;

pub(super) use trust::{Fault, explain};

use super::finding::Finding;
use super::known::Known;
use crate::commands::validate::ask;
use network::Target;
use proxy::Proxies;
use secrecy::SecretString;
use std::time::{Duration, SystemTime};
use url::Url;

/// How long the one call that matters may take as a whole.
const CALL_LIMIT: Duration = Duration::from_millis(3500);

/// Looks, and judges.
pub(super) async fn findings(known: &Known) -> Vec<Finding> {
    let Some(url) = &known.agent.url else { return Vec::new() };
    let proxies = Proxies::of_this_process();
    let on_the_way = proxies.between(url);
    let target = Target::of(on_the_way.as_ref().unwrap_or(url), on_the_way.is_some());
    let (network, called, version, proxy) = tokio::join!(
        network::look(target),
        call(known, url),
        version::look(url, &known.agent.roots),
        proxy::findings(&proxies, url, &known.no_proxy),
    );
    // As it is shown: a query goes with each call, and is nobody else's business.
    let shown = &{
        let mut shown = url.clone();
        shown.set_query(None);
        shown
    };
    let mut findings = network.judge(matches!(called, Ok(_) | Err(trust::Fault::Tls(_))));
    findings.extend(trust::judge(shown, &called, network.leaves_the_private_network()));
    match &called {
        Ok(answer) => {
            findings.extend(answer::judge(shown, answer, known.agent.password.is_some()));
            findings.push(clock::judge(answer.date.as_deref(), answer.at));
            findings.push(version::judge(&version));
            findings.extend(src_steps::look(known, &version).await);
        }
        // Told by then.
        Err(trust::Fault::Tls(_)) => {}
        Err(_) if !network.is_reached() => {}
        Err(trust::Fault::Silent) => findings.push(answer::silent(shown, CALL_LIMIT)),
        Err(trust::Fault::Other(why)) => findings.push(answer::none(shown, why)),
    }
    findings.extend(proxy);
    findings
}

async fn call(known: &Known, url: &Url) -> Result<answer::Answer, trust::Fault> {
    let nobody = SecretString::from(String::new());
    let password = known.agent.password.as_ref().unwrap_or(&nobody);
    let asked = async {
        let response = ask(url, password, &known.agent.roots, CALL_LIMIT).await?;
        answer::Answer::read(response, SystemTime::now()).await
    };
    match tokio::time::timeout(CALL_LIMIT, asked).await {
        Ok(answered) => answered.map_err(|error| trust::Fault::of(&error)),
        Err(_) => Err(trust::Fault::Silent),
    }
}
