//! The log and whoever reads it, or does not.

use std::io::{PipeReader, PipeWriter, Read as _, Write as _};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::app::Setup;
use crate::support::eventually;

/// The program, with both its outputs in one pipe.
struct Program {
    child: Child,
    origin: String,
}

impl Program {
    fn start(output: PipeWriter) -> Self {
        let setup = Setup::new("postgres://nobody@127.0.0.1:9/none", "http://127.0.0.1:9");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let mut command = Command::new("sh");
        let script = r#"exec 3<&0 0</dev/null; LISTEN_FDS=1 exec "$0" serve"#;
        command.arg("-c").arg(script).arg(env!("CARGO_BIN_EXE_switchboard"));
        command.env_clear().envs(setup.with("RUST_LOG", "info").environment());
        command.stdin(OwnedFd::from(listener)).stdout(output.try_clone().unwrap()).stderr(output);
        Self { child: command.spawn().unwrap(), origin }
    }

    async fn is_answered(&self, posts: u32) {
        for _ in 0..posts {
            let forged = awc::Client::default().post(format!("{}/api/voice/incoming", self.origin));
            assert_eq!(forged.send_form(&[("CallSid", "any")]).await.unwrap().status(), 403);
        }
        let healthy = awc::Client::default().get(format!("{}/healthz", self.origin));
        assert_eq!(healthy.send().await.unwrap().status(), 200);
    }

    async fn ends(mut self) -> ExitStatus {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let mut status = None;
        eventually("the program ends", async || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        status.unwrap()
    }
}

fn read(mut pipe: PipeReader) -> String {
    let mut all = Vec::new();
    pipe.read_to_end(&mut all).unwrap();
    String::from_utf8(all).unwrap()
}

#[actix_rt::test]
async fn outputs_that_nobody_reads_delay_neither_a_request_nor_the_end() {
    let (_unread, mut pipe) = std::io::pipe().unwrap();
    pipe.write_all(&[b'.'; 64 << 10]).unwrap(); // it takes no more
    let program = Program::start(pipe);
    program.is_answered(20).await;
    assert!(program.ends().await.success());
}

#[actix_rt::test]
async fn forged_posts_leave_a_bounded_log_that_counts_them() {
    let (log, pipe) = std::io::pipe().unwrap();
    let log = std::thread::spawn(move || read(log));
    let program = Program::start(pipe);
    program.is_answered(150).await;
    assert!(program.ends().await.success());
    let log = log.join().unwrap();
    let forged =
        log.lines().filter(|line| line.contains("a request was refused: not signed by Twilio cause"));
    assert_eq!(forged.count(), 100);
    assert!(log.contains("50 more like this were left out of the log"), "{log}");
    assert!(log.contains("stopped"), "the last lines are there");
}
