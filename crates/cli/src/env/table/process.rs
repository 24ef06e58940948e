//! What every command reads, and what the reference's process reads besides.

use crate::env::RuntimeName::Docker;
use crate::env::variable::{Effect, Kind, Reader, Variable, documented, ours, system};

const DEVELOPERS: Effect = Effect::Nothing("it is an aid for the reference's developers");
const PATIENCE: Effect = Effect::Nothing(
    "a call that can be repeated safely is, with growing pauses of at most 5 s and a limit of its own kind",
);
const PROXY: Effect = Effect::Always;

pub(super) const ROWS: &[Variable] = &[
    ours(
        "EXECUTOR_DATA_DIR",
        Kind::Text,
        "",
        "Where images and the state of running jobs are kept. Unset, the directory of the user's last `executor up`, else /var/lib/executor for root and ~/.local/share/executor for others.",
    )
    .read_by(Reader::All),
    documented(
        "SRC_LOG_LEVEL",
        Kind::Text,
        "warn",
        "How much to log on standard error: dbug, info, warn, error or crit.",
    )
    .read_by(Reader::All),
    documented(
        "SRC_LOG_FORMAT",
        Kind::Text,
        "logfmt",
        "How to write the log: logfmt, condensed or json. Set, what is said on standard output at start and end is written so as well, and is text for people else.",
    )
        .read_by(Reader::All),
    documented("SRC_LOG_SOURCE_LINK", Kind::Bool, "false", "Whether the log names places in the source.")
        .effect(DEVELOPERS),
    documented("SRC_TRACE_LOG", Kind::Text, "", "Whether spans are logged; stands in sample manifests.")
        .effect(DEVELOPERS),
    documented("INSECURE_DEV", Kind::Bool, "false", "Developers' mode.").effect(DEVELOPERS),
    documented(
        "SRC_GRACEFUL_SHUTDOWN_TIMEOUT",
        Kind::Duration,
        "0",
        "How long a shutdown may take, where it is set: jobs that still run 10 s before it is over, or when half of it is over, are handed back. Unset or 0, jobs that run may finish; a second signal stops them.",
    )
    .derived("none (the reference: 10s)", |_| "0".to_owned()),
    documented(
        "SRC_HTTP_CLI_INTERNAL_TIMEOUT",
        Kind::Duration,
        "0",
        "How long one call to the control plane may take, with all its repetitions; 0 means without limit.",
    )
    .effect(PATIENCE),
    documented(
        "SRC_HTTP_CLI_INTERNAL_RETRY_DELAY_BASE",
        Kind::Duration,
        "50ms",
        "The first pause before a call is repeated.",
    )
    .effect(PATIENCE),
    documented(
        "SRC_HTTP_CLI_INTERNAL_RETRY_DELAY_MAX",
        Kind::Duration,
        "1s",
        "The longest pause before a call is repeated.",
    )
    .effect(PATIENCE),
    documented(
        "SRC_HTTP_CLI_INTERNAL_RETRY_MAX_ATTEMPTS",
        Kind::Int,
        "20",
        "How often a call is repeated.",
    )
    .older("SRC_HTTP_CLI_MAX_RETRIES")
    .effect(PATIENCE),
    documented(
        "SRC_HTTP_CLI_INTERNAL_RETRY_AFTER_MAX_DURATION",
        Kind::Duration,
        "3s",
        "The longest Retry-After that is waited for.",
    )
    .effect(PATIENCE),
    system("HOSTNAME", "First half of the executor's name; the system's host name unless set.").read_by(Reader::All),
    system("HOME", "The user's home directory.").read_by(Reader::All),
    system("XDG_CONFIG_HOME", "Where the client's settings are kept, in executor/client.json; ~/.config unless set.")
        .read_by(Reader::All),
    system("XDG_DATA_HOME", "Where an ordinary user's data is kept, in executor/; ~/.local/share unless set.")
        .read_by(Reader::All),
    system("PATH", "Where git, the OCI runtime and mkfs.ext4 are looked for.").read_by(Reader::All),
    system("USER", "The user's name, which the reference hands to the programs it starts.")
        .effect(Effect::Nothing("programs that the agent starts get PATH and HOME")),
    system("TMPDIR", "Where the runtime docker makes workspaces; /tmp unless set.").effect(Effect::With(&[Docker])),
    system("HTTP_PROXY", "Proxy for calls to http:// URLs; http_proxy and ALL_PROXY count as well. A registry on this host is called without.")
        .read_by(Reader::All)
        .effect(PROXY),
    system("HTTPS_PROXY", "Proxy for calls to https:// URLs; https_proxy and ALL_PROXY count as well. A registry on this host is called without.")
        .read_by(Reader::All)
        .effect(PROXY),
    system("NO_PROXY", "Hosts that are called without a proxy, separated by commas; no_proxy counts as well.")
        .read_by(Reader::All)
        .effect(PROXY),
    system("SSL_CERT_FILE", "A file of certificates to trust besides the system's, PEM.").read_by(Reader::All),
    system("SSL_CERT_DIR", "Directories of certificates to trust besides the system's, separated by colons.")
        .read_by(Reader::All),
    system("NOTIFY_SOCKET", "Where systemd hears that a service is ready, stops, and is not stuck; systemd sets it.")
        .read_by(Reader::All),
    system("WATCHDOG_USEC", "How long systemd waits for a sign of life, in microseconds; systemd sets it.")
        .read_by(Reader::All),
    system("WATCHDOG_PID", "Which process that is meant for; systemd sets it.").read_by(Reader::All),
    system("OTEL_EXPORTER_OTLP_ENDPOINT", "The collector of OpenTelemetry that gets traces of jobs, below /v1/traces, as http/json. Unset, none are sent."),
    system("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "The same with its path, where traces have an address of their own."),
    system("OTEL_EXPORTER_OTLP_HEADERS", "Headers for the collector, NAME=VALUE, separated by commas.").secret(),
    system("OTEL_EXPORTER_OTLP_TIMEOUT", "How long one request to the collector may take, in milliseconds; 10000 unless set."),
    system("OTEL_EXPORTER_OTLP_PROTOCOL", "How to speak to the collector; anything but http/json is told to be passed over."),
    system("OTEL_SERVICE_NAME", "The name of this service in traces; executor unless set."),
    system("OTEL_RESOURCE_ATTRIBUTES", "What else traces tell of this service, NAME=VALUE, separated by commas."),
    system("OTEL_SDK_DISABLED", "With true no traces are sent."),
    system("NO_COLOR", "Any value: no colours on a terminal.").read_by(Reader::All),
];
