//! Passwords: what one must look like, how it is kept, and how it is compared without letting many attempts
//! take the machine.
//!
//! A password is kept as argon2id with 19 MiB of memory, two passes and one lane, which is the least that
//! OWASP recommends. One comparison takes some tens of milliseconds of a core. [`hash`], [`verify`] and
//! [`verify_nobody`] block; a server calls them by [`Passwords`], which lets two run at once.

use std::hint::black_box;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use actors::secret::Secret;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use rustix::process::setpriority_process;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

/// Memory of one computation, in KiB.
const MEMORY_KIB: u32 = 19 * 1024;
/// Passes over that memory.
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Characters of a password.
const SHORTEST: usize = 12;
const LONGEST: usize = 256;

/// Computations at once: the calls need the cores, too.
const AT_ONCE: usize = 2;
/// They have a tenth of a core that a call needs as well.
const NICENESS: i32 = 10;
/// Those that may wait for a computation. Whoever comes later is sent away at once.
const WAITING: usize = 64;
/// Nobody waits longer for a computation to begin.
const PATIENCE: Duration = Duration::from_secs(3);

/// A hash that no password has, and that costs as much to compare as any other.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5J3Mgc2FsdC4uLg$\
    AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Why a password is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPassword {
    #[error("the password has {0} characters: give it at least {SHORTEST}")]
    TooShort(usize),
    #[error("the password has {0} characters: give it at most {LONGEST}")]
    TooLong(usize),
}

/// Whether somebody may choose this password.
pub fn check(password: &Secret) -> Result<(), BadPassword> {
    match password.expose().chars().count() {
        count if count < SHORTEST => Err(BadPassword::TooShort(count)),
        count if count > LONGEST => Err(BadPassword::TooLong(count)),
        _ => Ok(()),
    }
}

/// The password as it is kept, in the PHC format, with a salt of its own. Blocks for some tens of
/// milliseconds.
///
/// # Errors
/// The password is too short or too long.
pub fn hash(password: &Secret) -> Result<String, BadPassword> {
    check(password)?;
    let salt: [u8; 16] = rand::random();
    let hashed = argon2().hash_password_with_salt(password.expose().as_bytes(), &salt);
    Ok(hashed.expect("the parameters and the salt's length are valid").to_string())
}

/// Whether this is the password that was [hashed](hash). Blocks for some tens of milliseconds. The computation
/// has the parameters that the hash names, so older hashes stay good when the parameters change.
pub fn verify(hash: &str, password: &Secret) -> bool {
    let Ok(hash) = PasswordHash::new(hash) else {
        tracing::error!("a user's password hash cannot be read; set the password again");
        verify_nobody(password);
        return false;
    };
    argon2().verify_password(password.expose().as_bytes(), &hash).is_ok()
}

/// Takes as long as [`verify`] does, for a user who is not there or must not log in.
pub fn verify_nobody(password: &Secret) {
    if let Ok(hash) = PasswordHash::new(NOBODY) {
        let compared = argon2().verify_password(password.expose().as_bytes(), &hash);
        let _ = black_box(compared);
    }
}

fn argon2() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).expect("the parameters are valid");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// Too many passwords are being compared: answer 503, and let the client try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many passwords are being compared")]
pub struct TooBusy;

/// Compares passwords on threads of their own, which give way to the calls' thread: two at once, while 64
/// wait. So a storm of attempts takes 38 MiB and two threads.
#[derive(Clone)]
pub struct Passwords {
    /// Of those that compute.
    turns: Arc<Semaphore>,
    /// Of those that compute or wait.
    places: Arc<Semaphore>,
    patience: Duration,
}

impl Default for Passwords {
    fn default() -> Self {
        Self::with_patience(PATIENCE)
    }
}

impl Passwords {
    fn with_patience(patience: Duration) -> Self {
        let [turns, places] = [AT_ONCE, AT_ONCE + WAITING].map(|size| Arc::new(Semaphore::new(size)));
        Self { turns, places, patience }
    }

    /// Whether this is the password with that hash. Without a hash, which is for a user who is not there or
    /// must not log in, the answer is no after the same time.
    ///
    /// # Errors
    /// Too many others wait, or the turn does not come within 3 s.
    pub async fn is_right(&self, hash: Option<String>, password: Secret) -> Result<bool, TooBusy> {
        let compare = move || match hash {
            Some(hash) => verify(&hash, &password),
            None => {
                verify_nobody(&password);
                false
            }
        };
        self.run(compare).await
    }

    /// The work goes on, and keeps its turn, when nobody waits for it any more.
    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, TooBusy> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| TooBusy)?;
        let turn = timeout(self.patience, Arc::clone(&self.turns).acquire_owned()).await;
        let turn = turn.map_err(|_| TooBusy)?.map_err(|_| TooBusy)?;
        let (done, answer) = oneshot::channel();
        let compute = move || {
            let _ = setpriority_process(None, NICENESS); // without it, it only competes with the calls
            let _ = done.send(work());
            drop((place, turn));
        };
        if let Err(error) = thread::Builder::new().name("password".to_owned()).spawn(compute) {
            tracing::error!(%error, "a password was not compared");
            return Err(TooBusy);
        }
        answer.await.map_err(|_| {
            tracing::error!("the comparison of a password has panicked");
            TooBusy
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use futures_util::future::join_all;

    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    #[test]
    fn a_password_is_right_for_its_own_hash_only() {
        let password = secret("correct horse battery");
        let hashed = hash(&password).unwrap();
        assert!(hashed.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hashed}");
        assert!(verify(&hashed, &password));
        assert!(!verify(&hashed, &secret("correct horse batterz")));
        assert!(!verify(&hashed, &secret("")));
        assert_ne!(hash(&password).unwrap(), hashed, "each has a salt of its own");
    }

    #[test]
    fn a_hash_with_other_parameters_stays_good() {
        let params = Params::new(64, 1, 1, None).unwrap();
        let older = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let hashed = older.hash_password_with_salt(b"correct horse battery", &[7; 16]).unwrap().to_string();
        assert!(verify(&hashed, &secret("correct horse battery")));
        assert!(!verify(&hashed, &secret("correct horse batterz")));
    }

    #[test]
    fn what_is_no_hash_has_no_password() {
        for hash in ["", "correct horse battery", "$argon2id$v=19$m=19456,t=2,p=1$", "$1$salt$word"] {
            assert!(!verify(hash, &secret("correct horse battery")), "{hash}");
            assert!(!verify(hash, &secret(hash)), "{hash}");
        }
    }

    /// The computation reads its parameters from the hash: they are those of every hash that is made now.
    #[test]
    fn an_unknown_user_costs_the_same_computation_as_a_wrong_password() {
        let [nobody, somebody] = [NOBODY.to_owned(), hash(&secret("correct horse battery")).unwrap()];
        let [nobody, somebody] = [&nobody, &somebody].map(|hash| PasswordHash::new(hash).unwrap());
        assert_eq!(nobody.algorithm, somebody.algorithm);
        assert_eq!(nobody.version, somebody.version);
        assert_eq!(nobody.params, somebody.params);
        assert_eq!(nobody.salt.unwrap().len(), somebody.salt.unwrap().len());
        assert_eq!(nobody.hash.unwrap().len(), somebody.hash.unwrap().len());
    }

    #[test]
    fn a_password_has_12_to_256_characters() {
        let of = |count| check(&secret(&"é".repeat(count)));
        assert_eq!(of(11), Err(BadPassword::TooShort(11)));
        assert_eq!((of(12), of(256)), (Ok(()), Ok(())));
        assert_eq!(of(257), Err(BadPassword::TooLong(257)));
        let said = hash(&secret("short")).unwrap_err().to_string();
        assert_eq!(said, "the password has 5 characters: give it at least 12");
    }

    #[tokio::test]
    async fn of_a_thousand_attempts_two_are_computed_at_once_and_64_wait() {
        let passwords = Passwords::with_patience(Duration::MAX);
        let (release, released) = mpsc::channel::<()>();
        let released = Arc::new(std::sync::Mutex::new(released));
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let attempt = |_| {
            let (running, most, released) = (running.clone(), most.clone(), released.clone());
            passwords.run(move || {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                let _ = released.lock().unwrap().recv();
                running.fetch_sub(1, Ordering::SeqCst);
            })
        };
        let refused = Arc::new(AtomicUsize::new(0));
        let storm = join_all((0..1_000).map(|number| {
            let (attempt, refused, release) = (attempt(number), refused.clone(), release.clone());
            async move {
                let done = attempt.await;
                // The last of those that are sent away lets the others work.
                if done.is_err() && refused.fetch_add(1, Ordering::SeqCst) + 1 == 1_000 - 66 {
                    (0..66).for_each(|_| release.send(()).unwrap());
                }
                done
            }
        }));
        let done = storm.await;
        assert_eq!(done.iter().filter(|done| done.is_ok()).count(), 66);
        assert!(most.load(Ordering::SeqCst) <= 2);
        assert_eq!(passwords.run(|| 1).await, Ok(1), "there is room again");
    }

    #[tokio::test]
    async fn whoever_waits_too_long_is_told_and_makes_room() {
        let passwords = Passwords::with_patience(Duration::ZERO);
        let turns = Arc::clone(&passwords.turns).acquire_many_owned(2).await.unwrap();
        for _ in 0..2 * WAITING {
            assert_eq!(passwords.run(|| ()).await, Err(TooBusy));
        }
        drop(turns);
        assert_eq!(passwords.run(|| ()).await, Ok(()));
    }

    #[tokio::test]
    async fn a_comparison_that_panics_gives_its_turn_back() {
        let passwords = Passwords::with_patience(Duration::from_secs(60));
        for _ in 0..3 {
            let panicked = passwords.run(|| panic!("on purpose")).await;
            assert_eq!(panicked, Err::<(), _>(TooBusy));
        }
        assert_eq!(passwords.is_right(None, secret("correct horse battery")).await, Ok(false));
    }
}
