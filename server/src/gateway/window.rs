//! [`Window`]: how much a device may have under way on one stream.

use std::time::Duration;

use tokio::time::Instant;

/// What a device may have under way to us on a new stream, in bytes. Whatever is under way stands in front of the
/// other streams' bytes: a keystroke beside a bulk copy waits for it.
pub(super) const STREAM_CREDIT_BYTES: u32 = 256 * 1024;
/// What it may have under way at most, when the way is long and fast: 80 MB/s at a round trip of 50 ms.
pub(super) const MOST_STREAM_CREDIT_BYTES: u32 = 4 * 1024 * 1024;
/// Round trip below which the first credit is enough for any rate: 128 MB/s at this one.
const SHORT_ROUND_TRIP: Duration = Duration::from_millis(2);

/// How much the device may have under way on one stream. It doubles when all of it was used up within two round
/// trips: then it is the credit that holds the device back, not the link and not the reader.
#[derive(Debug)]
pub(super) struct Window {
    bytes: u32,
    round_trip: Duration,
    /// Consumed and not granted again yet.
    consumed: u32,
    /// Consumed since `since`, for the rate.
    counted: u32,
    since: Instant,
}

impl Window {
    /// For a stream that begins `now` on a connection with that round trip.
    pub(super) const fn new(round_trip: Duration, now: Instant) -> Self {
        Self {
            bytes: STREAM_CREDIT_BYTES,
            round_trip,
            consumed: 0,
            counted: 0,
            since: now,
        }
    }

    /// Notes `bytes` as consumed; gives the grant to send when a quarter has been used up, so that grants are few and
    /// the device does not run dry.
    pub(super) fn consumed(&mut self, bytes: usize, now: Instant) -> Option<u32> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.consumed = self.consumed.saturating_add(bytes);
        self.counted = self.counted.saturating_add(bytes);
        if self.consumed < self.bytes / 4 {
            return None;
        }
        let grant = std::mem::take(&mut self.consumed);
        Some(grant.saturating_add(self.growth(now)))
    }

    fn growth(&mut self, now: Instant) -> u32 {
        if self.counted < self.bytes {
            return 0;
        }
        let took = now.saturating_duration_since(self.since);
        (self.counted, self.since) = (0, now);
        if self.round_trip < SHORT_ROUND_TRIP || took > self.round_trip * 2 {
            return 0;
        }
        let growth = self.bytes.min(MOST_STREAM_CREDIT_BYTES - self.bytes);
        self.bytes += growth;
        growth
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Consumes 64 KiB every `pace` for a while; gives the window then.
    fn after_a_while(round_trip: Duration, pace: Duration) -> u32 {
        const CHUNK: usize = 64 * 1024;
        let mut now = Instant::now();
        let mut window = Window::new(round_trip, now);
        let mut granted = 0;
        for _ in 0..1000 {
            now += pace;
            granted += window.consumed(CHUNK, now).unwrap_or_default() as usize;
        }
        let consumed = 1000 * CHUNK;
        let under_way = STREAM_CREDIT_BYTES as usize + granted + window.consumed as usize;
        assert_eq!(under_way - consumed, window.bytes as usize);
        window.bytes
    }

    #[test]
    fn credit_grows_on_a_long_fast_way_only() {
        let (millisecond, long) = (Duration::from_millis(1), Duration::from_millis(50));
        // 64 MB/s at 50 ms needs 3.2 MB under way.
        assert_eq!(after_a_while(long, millisecond), MOST_STREAM_CREDIT_BYTES);
        // 1 MB/s at 50 ms needs 50 KB.
        assert_eq!(after_a_while(long, millisecond * 64), STREAM_CREDIT_BYTES);
        let short = Duration::from_micros(200);
        assert_eq!(after_a_while(short, millisecond / 10), STREAM_CREDIT_BYTES);
    }
}
