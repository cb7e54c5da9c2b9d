//! `mastic exec` on a real engine: input, output of any size, and a terminal.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;

use crate::support::{Run, Sandbox, command};

fn applied() -> (Sandbox, String) {
    let sandbox = Sandbox::new();
    let image = sandbox.image("run", "");
    sandbox
        .site(&format!("  services:\n    @-a: {{image: '{image}', command: [sleep, '1000'], stop_signal: SIGKILL}}\n"));
    sandbox.mastic(&["apply", "--timeout", "1m"]).ok();
    let a = sandbox.name("a");
    (sandbox, a)
}

/// Runs it with this as its standard input.
fn with_input(sandbox: &Sandbox, arguments: &[&str], input: &[u8]) -> Run {
    let mut command = sandbox.command(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || {
        // One that ends before it has read all breaks the pipe.
        let _written = pipe.write_all(&input);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    Run::new(output, format!("{command:?}"))
}

#[test]
fn input_and_output_of_any_size_go_through_with_and_without_an_agent() {
    let (sandbox, a) = applied();
    let large: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let both = || {
        let run = with_input(&sandbox, &["exec", &a, "--", "sh", "-c", "cat; echo of the other >&2; exit 5"], &large);
        assert_eq!((run.code, run.stderr.as_str()), (5, "of the other\n"));
        assert_eq!(run.bytes.len(), large.len());
        assert!(run.bytes == large, "what comes out is what went in");
        let run = with_input(&sandbox, &["exec", &a, "--", "head", "-c", "3"], &large);
        assert_eq!((run.code, run.bytes.as_slice()), (0, &large[..3]), "{}", run.stderr);
        let run = with_input(&sandbox, &["exec", "-n", &a, "--", "wc", "-c"], b"not read");
        assert_eq!((run.code, run.stdout.trim()), (0, "0"));
        let json = sandbox
            .mastic(&["exec", "-o", "json", &a, "--", "sh", "-c", "head -c 100000 /dev/zero | tr '\\0' x"])
            .json();
        assert_eq!((json["exit_code"].as_i64(), json["output"].as_str().unwrap().len()), (Some(0), 100_000));
    };
    both();
    let run = sandbox.mastic(&["exec", "--timeout", "500ms", &a, "--", "sleep", "1000"]);
    assert_eq!(run.code, 124, "{run}");
    let agent = sandbox.agent(&[]);
    both();
    agent.stop(20);
}

#[test]
fn who_sits_at_a_terminal_gets_one_in_the_container() {
    let (sandbox, a) = applied();
    let inside = "test -t 0 && test -t 1 && echo a terminal; \
                  until [ \"$(stty size)\" = '33 77' ]; do sleep 0.1; done 2> /dev/null; stty size; trap 'echo interrupted; exit 7' INT; \
                  while [ \"$(stty size)\" != '44 88' ]; do sleep 0.1; done 2> /dev/null; stty size; read word; echo \"read $word\"; \
                  while :; do sleep 0.1; done";
    let outside = "stty rows 33 cols 77; tty; \"$MASTIC\" exec \"$SERVICE\" -- sh -c \"$INSIDE\"; code=$?; \
                   stty -a | grep -q '[^-]icanon' && echo as before; exit $code";
    let mut terminal = std::process::Command::new("script");
    let prepared = sandbox.command(&[]);
    terminal.args(["-qec", outside, "/dev/null"]).current_dir(sandbox.path());
    terminal.envs(prepared.get_envs().filter_map(|(name, value)| Some((name, value?))));
    terminal.env("MASTIC", env!("CARGO_BIN_EXE_mastic")).env("SERVICE", &a).env("INSIDE", inside);
    terminal.env("SHELL", "/bin/sh");
    let mut child = terminal.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut keys = child.stdin.take().unwrap();
    let mut screen = BufReader::new(child.stdout.take().unwrap()).lines().map(|line| line.unwrap().trim().to_owned());
    let mut next = || screen.next().unwrap();
    let device = next();
    assert!(device.starts_with("/dev/pts/"), "{device}");
    assert_eq!((next(), next()), ("a terminal".to_owned(), "33 77".to_owned()));
    command("stty", &["-F", &device, "rows", "44", "cols", "88"]);
    assert_eq!(next(), "44 88");
    keys.write_all(b"word\r").unwrap();
    assert_eq!(next(), "word", "the container's terminal echoes, and ours does not");
    assert_eq!(next(), "read word");
    keys.write_all(b"\x03").unwrap();
    let rest: Vec<String> = [next(), next()].into();
    assert!(rest[0].ends_with("interrupted") && rest[1] == "as before", "{rest:?}");
    assert_eq!(child.wait().unwrap().code(), Some(7));
}
