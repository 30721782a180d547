//! What an event is about, in the 64 bits that epoll keeps for it.

use rustix::event::epoll::EventData;

use super::slab::Key;

/// So many attempts to connect are told apart.
pub const ATTEMPTS: u8 = 1 << 6;

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// Others have sent orders.
    Bell,
    /// Somebody comes.
    Entrance(Key),
    /// A connection's client.
    Client(Key),
    /// A connection's backend, and which attempt.
    Backend(Key, u8),
}

impl Token {
    /// As epoll is told to tell it.
    pub fn data(self) -> EventData {
        // Index, generation, attempt, and 2 bits of which it is.
        let of = |key: Key| u64::from(key.index) | u64::from(key.generation & 0xff_ffff) << 32;
        EventData::new_u64(match self {
            Token::Bell => 0,
            Token::Entrance(key) => 1 << 62 | of(key),
            Token::Client(key) => 2 << 62 | of(key),
            Token::Backend(key, attempt) => 3 << 62 | u64::from(attempt % ATTEMPTS) << 56 | of(key),
        })
    }

    /// As epoll tells it.
    pub fn read(data: EventData) -> Token {
        let data = data.u64();
        let key = Key { index: data as u32, generation: (data >> 32) as u32 & 0xff_ffff };
        match data >> 62 {
            0 => Token::Bell,
            1 => Token::Entrance(key),
            2 => Token::Client(key),
            _ => Token::Backend(key, (data >> 56) as u8 % ATTEMPTS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_epoll_is_told_it_tells(
            which in 0..4u8, index: u32, generation in 0u32..1 << 24, attempt in 0..ATTEMPTS,
        ) {
            let key = Key { index, generation };
            let token = match which {
                0 => Token::Bell,
                1 => Token::Entrance(key),
                2 => Token::Client(key),
                _ => Token::Backend(key, attempt),
            };
            prop_assert_eq!(Token::read(token.data()), token);
        }
    }
}
