//! Printing for a command that has more to do than that: threads write, and whoever prints does not wait for a reader who is away, as behind
//! a terminal that is held with Ctrl-S. Readers that read get everything, in the order in which it was printed, also of both streams
//! together.

use std::{
    collections::VecDeque,
    io::{self, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
    time::{Duration, Instant},
};

use tokio::{sync::Notify, time::timeout_at};

/// Bytes of a command's output that wait to be written.
const MOST_OUTPUT: usize = 256 << 10;
/// Bytes that wait together with this program's own words.
const MOST: usize = 1 << 20;
/// Bytes that are written at once: a pipe takes them as soon as somebody reads so many.
const PIECE: usize = 4 << 10;
/// How long that may take until its reader counts as away.
const AWAY: Duration = Duration::from_secs(1);

/// Where something is printed.
#[derive(Clone, Copy)]
pub(crate) enum Stream {
    Output,
    Error,
}

static PRINTER: OnceLock<Arc<Printer>> = OnceLock::new();

/// From now on what is printed waits for its writer, and nobody else.
pub(crate) fn start() {
    PRINTER.get_or_init(|| Printer::start([Box::new(io::stdout()), Box::new(io::stderr())], AWAY));
}

/// The one that prints for this process, if it was started.
pub(crate) fn started() -> Option<&'static Printer> {
    PRINTER.get().map(Arc::as_ref)
}

pub(crate) struct Printer {
    state: Mutex<State>,
    changed: Condvar,
    /// Something was written.
    has_room: Notify,
    /// How long a reader may take nothing until it counts as away.
    away: Duration,
}

#[derive(Default)]
struct State {
    /// How many texts were printed.
    printed: u64,
    streams: [Waiting; 2],
}

/// What waits for one stream.
#[derive(Default)]
struct Waiting {
    texts: VecDeque<(u64, Vec<u8>)>,
    /// Together with what is being written.
    bytes: usize,
    /// Which text is being written, and since when its writer waits for the reader.
    writing: Option<(u64, Instant)>,
}

impl Waiting {
    /// The text that is to be there next.
    fn first(&self) -> Option<u64> {
        self.writing.map(|(number, _)| number).or(self.texts.front().map(|(number, _)| *number))
    }
}

impl Printer {
    fn start(streams: [Box<dyn Write + Send>; 2], away: Duration) -> Arc<Self> {
        let printer = Self { state: Mutex::default(), changed: Condvar::new(), has_room: Notify::new(), away };
        let printer = Arc::new(printer);
        for (number, stream) in streams.into_iter().enumerate() {
            let printer = Arc::clone(&printer);
            thread::spawn(move || printer.write(number, stream));
        }
        printer
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Prints a text. What the reader has left no room for is lost.
    pub(crate) fn print(&self, stream: Stream, text: Vec<u8>) {
        self.add(stream, text, MOST);
    }

    /// The same for what a command prints, as long as it has room for that: it waits for a reader that is slow.
    pub(crate) async fn pass_on(&self, stream: Stream, mut text: Vec<u8>) {
        loop {
            let mut room = std::pin::pin!(self.has_room.notified());
            room.as_mut().enable();
            match self.add(stream, text, MOST_OUTPUT) {
                None => return,
                Some(refused) => text = refused,
            }
            let since = self.state().streams[stream as usize].writing.map(|(_, since)| since);
            // Between two pieces it is not known: the next one begins at once.
            let away = since.unwrap_or_else(Instant::now) + self.away;
            if Instant::now() >= away {
                return;
            }
            // Whether there is room, or still none, is seen next.
            let _ = timeout_at(away.into(), room).await;
        }
    }

    /// Adds a text where there is room for it; otherwise gives it back.
    fn add(&self, stream: Stream, text: Vec<u8>, most: usize) -> Option<Vec<u8>> {
        let mut state = self.state();
        let number = state.printed;
        let waiting = &mut state.streams[stream as usize];
        if waiting.bytes > 0 && waiting.bytes + text.len() > most {
            return Some(text);
        }
        waiting.bytes += text.len();
        waiting.texts.push_back((number, text));
        state.printed += 1;
        self.changed.notify_all();
        None
    }

    /// Writes one stream, for ever.
    fn write(&self, stream: usize, mut to: Box<dyn Write + Send>) {
        loop {
            let (number, text) = self.next(stream);
            for piece in text.chunks(PIECE) {
                self.state().streams[stream].writing = Some((number, Instant::now()));
                // Nobody may read it any more.
                let _ = to.write_all(piece).and_then(|()| to.flush());
            }
            let mut state = self.state();
            state.streams[stream].writing = None;
            state.streams[stream].bytes -= text.len();
            drop(state);
            self.changed.notify_all();
            self.has_room.notify_waiters();
        }
    }

    /// Waits for the next text of a stream, and until what the other one has that is older is written, if that has a reader.
    fn next(&self, stream: usize) -> (u64, Vec<u8>) {
        let mut state = self.state();
        loop {
            let other = &state.streams[1 - stream];
            let first = state.streams[stream].texts.front().map(|(number, _)| *number);
            let is_away = other.writing.is_some_and(|(_, since)| since.elapsed() >= self.away);
            let is_next = |number| is_away || other.first().is_none_or(|others| others > number);
            if first.is_some_and(is_next)
                && let Some((number, text)) = state.streams[stream].texts.pop_front()
            {
                state.streams[stream].writing = Some((number, Instant::now()));
                return (number, text);
            }
            state = match first {
                Some(_) => self.changed.wait_timeout(state, self.away).unwrap_or_else(PoisonError::into_inner).0,
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Waits until everything is written, but no longer than `most`.
    pub(crate) fn finish(&self, most: Duration) {
        let is_open = |state: &mut State| state.streams.iter().any(|waiting| waiting.bytes > 0);
        let _ = self.changed.wait_timeout_while(self.state(), most, is_open);
    }

    /// How many bytes wait to be written to a stream.
    pub(crate) fn waiting(&self, stream: Stream) -> usize {
        self.state().streams[stream as usize].bytes
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    use tokio::runtime::Builder;

    use super::*;

    /// A stream whose reader takes a piece when it wants.
    struct Slow(&'static str, SyncSender<String>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let text = format!("{} {}", self.0, String::from_utf8_lossy(bytes));
            self.1.send(text).map_err(|_| io::ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A printer, and what the readers of both streams get, who are the same or two.
    fn printer(is_one: bool, away: Duration) -> (Arc<Printer>, Receiver<String>, Receiver<String>) {
        let ((output, outputs), (error, errors)) = (sync_channel(0), sync_channel(0));
        let error = if is_one { output.clone() } else { error };
        (Printer::start([Box::new(Slow("out", output)), Box::new(Slow("err", error))], away), outputs, errors)
    }

    #[test]
    fn who_reads_gets_both_streams_in_the_order_of_printing() {
        let (printer, all, _) = printer(true, Duration::from_secs(600));
        for number in 0..1000 {
            let stream = if number % 3 == 0 { Stream::Error } else { Stream::Output };
            printer.print(stream, number.to_string().into());
        }
        for number in 0..1000 {
            let stream = if number % 3 == 0 { "err" } else { "out" };
            assert_eq!(all.recv(), Ok(format!("{stream} {number}")));
        }
    }

    #[test]
    fn who_does_not_read_one_stream_gets_the_other_and_holds_up_nobody() -> io::Result<()> {
        let (printer, _outputs, errors) = printer(false, Duration::from_millis(10));
        let passed_on = Builder::new_current_thread().enable_time().build()?.block_on(async {
            for _ in 0..1000 {
                printer.pass_on(Stream::Output, vec![b'x'; PIECE]).await;
                printer.print(Stream::Output, vec![b'y'; 100]);
            }
            printer.waiting(Stream::Output)
        });
        assert!((MOST_OUTPUT / 2..=MOST).contains(&passed_on), "{passed_on}");
        printer.print(Stream::Error, b"word".to_vec());
        assert_eq!(errors.recv(), Ok("err word".to_owned()));
        printer.finish(Duration::ZERO);
        assert_eq!(printer.waiting(Stream::Output), passed_on);
        Ok(())
    }

    #[test]
    fn who_reads_slowly_gets_everything_and_then_it_is_finished() -> io::Result<()> {
        let (printer, all, _) = printer(true, Duration::from_secs(600));
        let reader = thread::spawn(move || all.iter().take(2000).map(|text| text.len()).sum::<usize>());
        Builder::new_current_thread().enable_time().build()?.block_on(async {
            for _ in 0..1000 {
                printer.pass_on(Stream::Output, vec![b'x'; 2 * PIECE]).await;
            }
        });
        printer.finish(Duration::from_secs(600));
        assert_eq!(reader.join().ok(), Some(2000 * (PIECE + "out ".len())));
        Ok(())
    }
}
