// Counts the words of its input, as a command for wasip1 that knows nothing of
// Mayfly:
//
//	rustc --target wasm32-wasip1 -O -o count.wasm count.rs
use std::{collections::HashMap, env, io::Read, process, time::SystemTime};

fn main() {
    let subject = env::var("SUBJECT").unwrap_or_default();
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).expect("the input is text");
    let mut seen: HashMap<&str, usize> = HashMap::new(); // takes random numbers
    for word in text.split_whitespace() {
        *seen.entry(word).or_insert(0) += 1;
    }
    let first = seen.keys().min().unwrap_or_else(|| {
        eprintln!("no words in {}", subject);
        process::exit(3)
    });
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(false, |d| d.as_secs() > 1_700_000_000);
    println!("{{\"words\":{},\"first\":\"{}\",\"subject\":\"{}\",\"clock\":{}}}", seen.values().sum::<usize>(), first, subject, clock);
}
