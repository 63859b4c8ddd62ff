//! A network namespace for one test, gone with the thread that made it.

use std::{future::Future, process::Command, sync::Arc, thread, time::Duration};

use eip_dp_user::host::HostFacts;
use nix::sched::{CloneFlags, unshare};
use tokio::sync::watch;

/// The longest that a test may take; far more than it needs, on a machine that is busy with others,
/// too.
const LIMIT: Duration = Duration::from_mins(3);

/// The longest wait for one thing to happen.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Runs `test` on a thread of its own, in a new network namespace where only the loopback interface
/// exists.
pub fn run<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    let thread = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace (are you root?)");
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(async {
                tokio::time::timeout(LIMIT, test())
                    .await
                    .expect("the test took too long");
            });
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Runs a command in the namespace of the calling thread; it must succeed. Returns what it printed.
pub fn sh(command: &str) -> String {
    let mut words = command.split_whitespace();
    let output = Command::new(words.next().unwrap())
        .args(words)
        .output()
        .unwrap_or_else(|error| panic!("`{command}`: {error}"));
    assert!(
        output.status.success(),
        "`{command}`: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Waits until what a command prints is as `wanted` says, and returns it.
pub async fn until_printed(command: &str, wanted: impl Fn(&str) -> bool) -> String {
    let waiting = async {
        loop {
            let printed = sh(command);
            if wanted(&printed) {
                return printed;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let met = tokio::time::timeout(PATIENCE, waiting).await;
    met.unwrap_or_else(|_| panic!("`{command}`: in the end it printed {}", sh(command)))
}

/// Waits until the facts are as `wanted` says, and returns them.
pub async fn until(
    facts: &mut watch::Receiver<Arc<HostFacts>>,
    what: &str,
    wanted: impl Fn(&HostFacts) -> bool,
) -> Arc<HostFacts> {
    let waiting = async {
        facts
            .wait_for(|facts| wanted(facts))
            .await
            .map(|met| met.clone())
    };
    let Ok(met) = tokio::time::timeout(PATIENCE, waiting).await else {
        panic!("{what}: never seen; the facts are {:#?}", facts.borrow());
    };
    met.unwrap_or_else(|_| panic!("{what}: the watcher ended"))
}
