//! A client that reads deflate (RFC 1951) in the plainest way, and sees how far back it refers.

/// What earlier messages have come to.
#[derive(Default)]
pub(crate) struct Reader {
    history: Vec<u8>,
}

/// Symbols in the order of their codes: how many there are of each length, and which.
struct Codes {
    counts: [usize; 16],
    symbols: Vec<usize>,
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader {
    /// The message of which `compressed` is left. No reference may go back more than `window`.
    pub(crate) fn inflate(&mut self, compressed: &[u8], window: usize) -> Vec<u8> {
        let whole = [compressed, &[0x00, 0x00, 0xff, 0xff]].concat();
        let start = self.history.len();
        let mut bits = Bits {
            bytes: &whole,
            at: 0,
        };
        while bits.at < whole.len() * 8 {
            assert_eq!(bits.take(1), 0, "a final block");
            match bits.take(2) {
                0 => self.plain_block(&mut bits),
                1 => self.block(&mut bits, &fixed_literals(), &fixed_distances(), window),
                2 => {
                    let (literals, distances) = read_codes(&mut bits);
                    self.block(&mut bits, &literals, &distances, window);
                }
                _ => panic!("a block of the reserved kind"),
            }
        }
        self.history[start..].to_vec()
    }

    fn plain_block(&mut self, bits: &mut Bits<'_>) {
        bits.at = bits.at.next_multiple_of(8);
        let (len, check) = (bits.take(16), bits.take(16));
        assert_eq!(len, !check & 0xffff);
        for _ in 0..len {
            let byte = bits.take(8) as u8;
            self.history.push(byte);
        }
    }

    fn block(&mut self, bits: &mut Bits<'_>, literals: &Codes, distances: &Codes, window: usize) {
        loop {
            let symbol = bits.symbol(literals);
            match symbol {
                0..256 => self.history.push(symbol as u8),
                256 => return,
                _ => {
                    let len = match symbol - 257 {
                        short @ 0..8 => short + 3,
                        28 => 258,
                        long => {
                            let extra = long / 4 - 1;
                            ((4 + long % 4) << extra) + 3 + bits.take(extra)
                        }
                    };
                    let distance = match bits.symbol(distances) {
                        near @ 0..4 => near + 1,
                        far => {
                            let extra = far / 2 - 1;
                            ((2 + far % 2) << extra) + 1 + bits.take(extra)
                        }
                    };
                    assert!(distance <= window, "{distance} is beyond {window}");
                    for _ in 0..len {
                        let from = self.history.len() - distance;
                        self.history.push(self.history[from]);
                    }
                }
            }
        }
    }
}

impl Bits<'_> {
    /// The next bits as a number, the first the lowest.
    fn take(&mut self, count: usize) -> usize {
        let mut value = 0;
        for index in 0..count {
            let bit = self.bytes[self.at / 8] >> (self.at % 8) & 1;
            value |= usize::from(bit) << index;
            self.at += 1;
        }
        value
    }

    /// The next symbol: codes of one length are consecutive numbers, their first bit the highest.
    fn symbol(&mut self, codes: &Codes) -> usize {
        let (mut code, mut first, mut index) = (0, 0, 0);
        for count in &codes.counts[1..] {
            code |= self.take(1);
            if code < first + count {
                return codes.symbols[index + code - first];
            }
            index += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        panic!("a code without a symbol")
    }
}

/// The codes in which each symbol has this length; 0: it has none.
fn codes(lengths: &[usize]) -> Codes {
    let mut counts = [0; 16];
    let mut symbols = Vec::new();
    for length in 1..16 {
        let of_length = (0..lengths.len()).filter(|&symbol| lengths[symbol] == length);
        symbols.extend(of_length);
        counts[length] = symbols.len() - counts[..length].iter().sum::<usize>();
    }
    Codes { counts, symbols }
}

fn fixed_literals() -> Codes {
    let mut lengths = [8; 288];
    lengths[144..256].fill(9);
    lengths[256..280].fill(7);
    codes(&lengths)
}

fn fixed_distances() -> Codes {
    codes(&[5; 30])
}

fn read_codes(bits: &mut Bits<'_>) -> (Codes, Codes) {
    const ORDER: [usize; 19] = [
        16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15,
    ];
    let literals = bits.take(5) + 257;
    let distances = bits.take(5) + 1;
    let given = bits.take(4) + 4;
    let mut lengths = [0; 19];
    for symbol in &ORDER[..given] {
        lengths[*symbol] = bits.take(3);
    }
    let of_lengths = codes(&lengths);

    let mut lengths = Vec::new();
    while lengths.len() < literals + distances {
        let (length, times) = match bits.symbol(&of_lengths) {
            16 => (*lengths.last().expect("a length"), 3 + bits.take(2)),
            17 => (0, 3 + bits.take(3)),
            18 => (0, 11 + bits.take(7)),
            length => (length, 1),
        };
        lengths.extend(vec![length; times]);
    }
    (codes(&lengths[..literals]), codes(&lengths[literals..]))
}
