//! What the sockets that a worker waits for are to it.

use super::sessions::Index;

/// What a socket in the set is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// The mailbox's.
    Bell,
    /// The entrance of this number.
    Entrance(u32),
    /// That of a session of the service of this number.
    Session(u32, Index),
}

const IS_SESSION: u64 = 1 << 63;
const IS_ENTRANCE: u64 = 1 << 62;

impl From<Token> for u64 {
    fn from(token: Token) -> u64 {
        match token {
            Token::Bell => 0,
            Token::Entrance(number) => IS_ENTRANCE | u64::from(number),
            Token::Session(carried, index) => {
                IS_SESSION | u64::from(carried) << 32 | u64::from(index)
            }
        }
    }
}

impl From<u64> for Token {
    fn from(word: u64) -> Token {
        if word & IS_SESSION != 0 {
            Token::Session(((word & !IS_SESSION) >> 32) as u32, word as Index)
        } else if word & IS_ENTRANCE != 0 {
            Token::Entrance(word as u32)
        } else {
            Token::Bell
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_the_same_after_it_was_a_word() {
        let most = (1 << 30) - 1;
        let sessions = [(0, 0), (1, 2), (most, Index::MAX)];
        let sessions = sessions.map(|(carried, session)| Token::Session(carried, session));
        for token in
            [Token::Bell, Token::Entrance(0), Token::Entrance(7)].into_iter().chain(sessions)
        {
            assert_eq!(Token::from(u64::from(token)), token);
        }
    }
}
