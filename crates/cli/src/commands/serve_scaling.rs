//! Which clouds the control plane tells how long its queues are.

use crate::certificates;
use crate::env::EnvReader;
use server::{Allocations, Aws, Google, GoogleCredentials, Scaling};

/// Reads it; `None` where none is to be told. What is missing or wrong is a fault.
pub(crate) fn read(env: &mut EnvReader<'_>) -> Option<Scaling> {
    let (aws, google) = (aws(env), google(env));
    if aws.is_none() && google.is_none() {
        return None;
    }
    let allocations = env.text("EXECUTOR_ALLOCATIONS").map(|json| Allocations::parse(&json)).transpose();
    let allocations = allocations.unwrap_or_else(|fault| {
        env.fault(format!("invalid EXECUTOR_ALLOCATIONS: {fault}"));
        None
    });
    let roots = certificates::read(env);
    let mut scaling = Scaling::new(env.text("EXECUTOR_METRIC_ENVIRONMENT_LABEL").unwrap_or_default(), roots);
    (scaling.aws, scaling.google) = (aws, google);
    scaling.allocations = allocations.unwrap_or_default();
    Some(scaling)
}

fn aws(env: &mut EnvReader<'_>) -> Option<Aws> {
    const NAMESPACE: &str = "EXECUTOR_METRIC_AWS_NAMESPACE";
    const REGION: &str = "EXECUTOR_METRIC_AWS_REGION";
    if env.text(REGION).is_none() && env.bound_or_not(NAMESPACE).is_none() {
        return None;
    }
    let mut needed = |name: &'static str| {
        let value = env.text(name);
        if value.is_none() {
            env.fault(format!(
                "{name} is not set: Amazon CloudWatch is told queue sizes where {NAMESPACE} or {REGION} is set, and needs it"
            ));
        }
        value
    };
    let (region, id) = (needed(REGION), needed("EXECUTOR_METRIC_AWS_ACCESS_KEY_ID"));
    let secret = needed("EXECUTOR_METRIC_AWS_SECRET_ACCESS_KEY");
    Some(Aws {
        namespace: env.text(NAMESPACE).unwrap_or_default(),
        region: region?,
        access_key_id: id?,
        secret_access_key: secret?.into(),
        session_token: env.text("EXECUTOR_METRIC_AWS_SESSION_TOKEN").map(Into::into),
        endpoint: None,
    })
}

fn google(env: &mut EnvReader<'_>) -> Option<Google> {
    const FILE: &str = "EXECUTOR_METRIC_GOOGLE_APPLICATION_CREDENTIALS_FILE";
    const CONTENT: &str = "EXECUTOR_METRIC_GOOGLE_APPLICATION_CREDENTIALS_FILE_CONTENT";
    let project = env.text("EXECUTOR_METRIC_GCP_PROJECT_ID")?;
    let credentials = match (env.text(FILE), env.text(CONTENT)) {
        (Some(_), Some(_)) => {
            env.fault(format!("both {FILE} and {CONTENT} are set: leave one out"));
            return None;
        }
        (Some(file), None) => GoogleCredentials::File(file.into()),
        (None, Some(content)) => GoogleCredentials::Content(content.into()),
        (None, None) => GoogleCredentials::Machine(None),
    };
    Some(Google { project, credentials, endpoint: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Variables;

    fn read_from(pairs: &[(&str, &str)]) -> Result<Option<Scaling>, String> {
        let variables = Variables::of(pairs);
        let mut env = EnvReader::new(&variables, "executor");
        let scaling = read(&mut env);
        env.finish().map(|()| scaling).map_err(|faults| faults.to_string())
    }

    #[test]
    fn clouds_are_told_where_they_are_named() {
        assert!(read_from(&[("EXECUTOR_METRIC_ENVIRONMENT_LABEL", "x")]).unwrap().is_none());
        let pairs = [
            ("EXECUTOR_METRIC_AWS_REGION", "eu-west-1"),
            ("EXECUTOR_METRIC_AWS_ACCESS_KEY_ID", "AKID"),
            ("EXECUTOR_METRIC_AWS_SECRET_ACCESS_KEY", "s3cret"),
            ("EXECUTOR_METRIC_GCP_PROJECT_ID", "acme"),
        ];
        let scaling = read_from(&pairs).unwrap().unwrap();
        let (aws, google) = (scaling.aws.as_ref().unwrap(), scaling.google.as_ref().unwrap());
        assert_eq!((scaling.environment.as_str(), aws.namespace.as_str()), ("dev", "sourcegraph-executor"));
        assert!(matches!(google.credentials, GoogleCredentials::Machine(None)));
        assert!(!format!("{scaling:?}").contains("s3cret"));
    }

    #[test]
    fn what_is_missing_or_wrong_is_told_by_name() {
        let faults = read_from(&[("EXECUTOR_METRIC_AWS_NAMESPACE", "x")]).unwrap_err();
        for name in ["AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
            assert!(faults.contains(&format!("EXECUTOR_METRIC_{name} is not set")), "{faults}");
        }
        let both = [
            ("EXECUTOR_METRIC_GCP_PROJECT_ID", "acme"),
            ("EXECUTOR_METRIC_GOOGLE_APPLICATION_CREDENTIALS_FILE", "/x"),
            ("EXECUTOR_METRIC_GOOGLE_APPLICATION_CREDENTIALS_FILE_CONTENT", "{}"),
        ];
        assert!(read_from(&both).unwrap_err().contains("leave one out"));
        let shares =
            [("EXECUTOR_METRIC_GCP_PROJECT_ID", "acme"), ("EXECUTOR_ALLOCATIONS", "{\"batches\":1}")];
        assert!(read_from(&shares).unwrap_err().starts_with("invalid EXECUTOR_ALLOCATIONS: "));
    }
}
