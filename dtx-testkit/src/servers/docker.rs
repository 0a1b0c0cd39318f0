//! The Docker engine that `DOCKER_HOST` names, or the one of this machine, by testcontainers.

use std::{collections::HashMap, future::Future, mem, sync::OnceLock, time::Duration};

use testcontainers::{
    ContainerAsync, ContainerRequest, GenericImage, ImageExt, TestcontainersError,
    bollard::{
        self,
        models::HostConfig,
        query_parameters::{
            InspectContainerOptions, ListContainersOptionsBuilder, RemoveContainerOptionsBuilder,
            StartContainerOptions,
        },
    },
    core::{
        IntoContainerPort,
        client::{ClientError, docker_client_instance},
    },
    runners::AsyncRunner,
};
use tokio::{
    runtime::{Builder, Runtime},
    time::timeout,
};

use super::{
    Image, Recipe, Service, ServiceError,
    engine::Engine,
    images::name_and_tag,
    process::{PATIENCE, wait},
};

/// The label that names the service of a container.
const SERVICE: &str = "dtx.test.service";

/// The label that names the folder that remembers a container.
const OWNER: &str = "dtx.test.folder";

/// Nobody but this machine gets to a container.
const LOOPBACK: &str = "127.0.0.1";

/// How long an engine may take to say that it is there.
const PING: Duration = Duration::from_secs(5);

/// How many of the last lines of a server are told when it does not start.
const LINES: usize = 10;

/// The client of the engine. It keeps nothing: testcontainers connects when it is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Docker;

/// Runs one call to its end. It has a runtime of its own, so it must not be on a thread of
/// another one. That runtime stays for the next call: connections of the client live in it.
fn call<T>(work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    static RUNTIME: OnceLock<Result<Runtime, String>> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| {
        let built = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        built.map_err(|error| format!("no runtime: {error}"))
    });
    runtime.as_ref().map_err(Clone::clone)?.block_on(work)
}

async fn client() -> Result<bollard::Docker, String> {
    docker_client_instance().await.map_err(|error| error.to_string())
}

/// A service, and what its container is made of.
struct Made {
    service: &'static str,
    image: &'static Image,
    /// The image, or the other one that its variable names.
    chosen: String,
    recipe: Recipe,
    /// The port on the loopback.
    port: u16,
}

impl Made {
    fn of(service: &dyn Service, port: u16) -> Result<Self, ServiceError> {
        let name = service.name();
        let image = Image::of(name).ok_or(ServiceError::NoContainer { name })?;
        let chosen = image.chosen();
        let recipe = service.recipe(&chosen, port).ok_or(ServiceError::NoContainer { name })?;
        Ok(Self { service: name, image, chosen, recipe, port })
    }

    fn answers(&self) -> bool {
        (self.recipe.answers)(self.port)
    }
}

/// A container that only the loopback reaches, at one port, so that it has the same after a
/// restart.
fn request(made: &Made, owner: &str) -> ContainerRequest<GenericImage> {
    let (name, tag) = name_and_tag(&made.chosen);
    let recipe = &made.recipe;
    let on_loopback = |config: &mut HostConfig| {
        let ports = config.port_bindings.iter_mut().flat_map(HashMap::values_mut);
        for binding in ports.flatten().flatten() {
            binding.host_ip = Some(LOOPBACK.to_owned());
        }
    };
    let mut request = GenericImage::new(name, tag)
        .with_mapped_port(made.port, recipe.port.tcp())
        .with_host_config_modifier(on_loopback)
        .with_label(SERVICE, made.service)
        .with_label(OWNER, owner)
        .with_startup_timeout(PATIENCE)
        .with_cmd(recipe.command.clone());
    for (name, value) in &recipe.environment {
        request = request.with_env_var(name, value);
    }
    for (path, text) in &recipe.files {
        request = request.with_copy_to(path, text.clone().into_bytes());
    }
    request
}

/// The last lines that the server of a container has printed.
async fn last_lines(container: &ContainerAsync<GenericImage>) -> String {
    let output = container.stdout_to_vec().await.unwrap_or_default();
    let errors = container.stderr_to_vec().await.unwrap_or_default();
    let text = String::from_utf8_lossy(&[output, errors].concat()).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

/// Waits until the server of a container answers. Says why it does not.
fn answers(container: &ContainerAsync<GenericImage>, made: &Made) -> Result<(), String> {
    let mut has_ended = false;
    let is_told = wait(|| {
        let runs = call(async { container.is_running().await.map_err(|error| error.to_string()) });
        has_ended = runs != Ok(true);
        has_ended || made.answers()
    });
    if is_told && !has_ended {
        return Ok(());
    }
    let lines = call(async { Ok(last_lines(container).await) })?;
    let what = if has_ended { "it has ended" } else { "nothing answers" };
    Err(format!("{what}; its last lines:\n{lines}"))
}

impl Engine for Docker {
    fn answers(&self) -> Result<(), String> {
        call(async {
            let client = client().await?;
            let answer = timeout(PING, client.ping()).await;
            let answer = answer.map_err(|_| format!("silent for {} s", PING.as_secs()))?;
            answer.map(|_| ()).map_err(|error| error.to_string())
        })
    }

    fn start(
        &self,
        service: &'static dyn Service,
        owner: &str,
        port: u16,
    ) -> Result<String, ServiceError> {
        let name = service.name();
        let failed = |says: String| ServiceError::Engine { what: "start", name, says };
        let made = Made::of(service, port)?;
        let request = request(&made, owner);
        let container = match call(async { Ok(request.start().await) }).map_err(failed)? {
            Ok(container) => container,
            Err(error) => {
                // One that was made and could not be started stays behind.
                self.remove(service, owner)?;
                return Err(match error {
                    TestcontainersError::Client(ClientError::PullImage { err, .. }) => {
                        let (variable, says) = (made.image.variable, err.to_string());
                        ServiceError::NoImage { name, image: made.chosen, variable, says }
                    }
                    error => failed(error.to_string()),
                });
            }
        };
        if let Err(says) = answers(&container, &made) {
            call(async { container.rm().await.map_err(|error| error.to_string()) })
                .map_err(failed)?;
            return Err(failed(says));
        }
        let id = container.id().to_owned();
        // A container is removed when its handle is dropped, and this one is to outlive us. The
        // handle is forgotten only now, so that one that does not answer is still removed.
        // testcontainers' own way, a "reusable" container, would leave that one behind too, and
        // hands it out again without asking whether it answers.
        mem::forget(container);
        Ok(id)
    }

    fn start_again(&self, id: &str, service: &dyn Service, port: u16) -> bool {
        let started = call(async {
            let started = client().await?.start_container(id, None::<StartContainerOptions>).await;
            started.map_err(|error| error.to_string())
        });
        let Ok(made) = Made::of(service, port) else { return false };
        started.is_ok() && wait(|| !self.runs(id) || made.answers()) && self.runs(id)
    }

    fn runs(&self, id: &str) -> bool {
        let state = call(async {
            let found =
                client().await?.inspect_container(id, None::<InspectContainerOptions>).await;
            found.map_err(|error| error.to_string())
        });
        let state = state.ok().and_then(|found| found.state);
        state.and_then(|state| state.running).unwrap_or(false)
    }

    fn remove(&self, service: &dyn Service, owner: &str) -> Result<usize, ServiceError> {
        let name = service.name();
        let labels = vec![format!("{SERVICE}={name}"), format!("{OWNER}={owner}")];
        let filters = HashMap::from([("label".to_owned(), labels)]);
        let removed = call(async {
            let client = client().await?;
            let all = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
            let found = client.list_containers(Some(all)).await;
            let found = found.map_err(|error| error.to_string())?;
            for container in &found {
                // Its data are in volumes without names, which go with it.
                let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
                let id = container.id.as_deref().unwrap_or_default();
                let removed = client.remove_container(id, Some(options)).await;
                removed.map_err(|error| error.to_string())?;
            }
            Ok(found.len())
        });
        removed.map_err(|says| ServiceError::Engine { what: "remove", name, says })
    }
}
