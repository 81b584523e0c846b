//! Faults in the kernels, each a piece of source text and what stands there instead, and the tests that must find them.

use crate::support::fake_driver::Fault;

/// One thing that is wrong, and the test that must say so.
pub struct Seeded {
    pub what: &'static str,
    pub fault: Fault,
    /// A test program, and a part of the test's name.
    pub found_by: (&'static str, &'static str),
}

const fn seeded(
    what: &'static str,
    (file, right, wrong): (&'static str, &'static str, &'static str),
    found_by: (&'static str, &'static str),
) -> Seeded {
    Seeded {
        what,
        fault: Fault { file, right, wrong },
        found_by,
    }
}

pub const DECODE: (&str, &str) = ("attention", "decode_equals_plain_attention");
const CHOSEN: (&str, &str) = ("attention", "decode_looks_at_chosen_pages");
const PREFILL: (&str, &str) = ("attention", "prefill_equals_plain_attention");
const MASS: (&str, &str) = ("attention", "mass_is_the_sum");
const SEALED: (&str, &str) = ("sealing", "sealed_pages_are_the_packers_bytes");
const APPENDED: (&str, &str) = ("sealing", "appended_tokens");
const INDEX: (&str, &str) = ("choosing", "the_index_holds");
const SCAN: (&str, &str) = ("choosing", "the_scan");
const PICK: (&str, &str) = ("choosing", "are_picked");
const GATHER: (&str, &str) = ("choosing", "gathered_pages");
const FEW: (&str, &str) = ("products", "few_tokens_times_every_format");
const MANY: (&str, &str) = ("products", "many_tokens_times_every_format");
const ROWS: (&str, &str) = ("products", "rows_are_normed");

/// All of them.
pub const TESTS: [(&str, &str); 13] = [
    CHOSEN, MASS, SEALED, APPENDED, INDEX, SCAN, PICK, GATHER, PREFILL, DECODE, FEW, MANY, ROWS,
];

/// Missing barriers, bounds that are off by one, wrong masks, stale pages, wrong places and roundings.
pub const FAULTS: &[Seeded] = &[
    seeded(
        "no barrier between what is made of a page and its use",
        (
            "decode.cu",
            "__syncthreads();  // this page is staged, and the one before is done with",
            "",
        ),
        DECODE,
    ),
    seeded(
        "no barrier between scores of some channels and of all",
        (
            "scores.cuh",
            "__syncthreads();  // scores of all channels are there",
            "",
        ),
        DECODE,
    ),
    seeded(
        "no barrier between quarters and the whole",
        (
            "decode.cu",
            "__syncthreads();  // what was found of all keys is there",
            "",
        ),
        DECODE,
    ),
    seeded(
        "the next page takes the place of this one",
        (
            "decode.cu",
            "staged[1 - buffer], head_of(next)",
            "staged[buffer], head_of(next)",
        ),
        DECODE,
    ),
    seeded(
        "what halves leave out of a score is left out",
        (
            "scores.cuh",
            "        multiply_add(scores, left_rest, right.first);\n",
            "",
        ),
        DECODE,
    ),
    seeded(
        "what halves leave out of a weight is left out",
        ("weigh.cuh", "multiply_add(further, least, right_rest);", ""),
        DECODE,
    ),
    seeded(
        "a value in a slot that is not filled",
        (
            "weigh.cuh",
            "token + more < visible ?",
            "token + more < PAGE_TOKENS ?",
        ),
        DECODE,
    ),
    seeded(
        "the splits' largest are one warp's",
        (
            "merge.cu",
            "__syncthreads();  // the warps' largest are there",
            "",
        ),
        DECODE,
    ),
    seeded(
        "a channel's splits are some threads'",
        (
            "merge.cu",
            "__syncthreads();  // what all threads have is there",
            "",
        ),
        DECODE,
    ),
    seeded(
        "no barrier before values are overwritten by the next page's keys",
        (
            "prefill.cu",
            "__syncthreads();  // the values before are done with",
            "",
        ),
        PREFILL,
    ),
    seeded(
        "no barrier before keys are overwritten by values",
        (
            "prefill.cu",
            "__syncthreads();  // the keys are done with",
            "",
        ),
        PREFILL,
    ),
    seeded(
        "no barrier between keys and scores",
        ("prefill.cu", "__syncthreads();  // keys are there", ""),
        PREFILL,
    ),
    seeded(
        "no barrier between values and their weighing",
        ("prefill.cu", "__syncthreads();  // values are there", ""),
        PREFILL,
    ),
    seeded(
        "decoded keys are overwritten before they are copied",
        ("unpack.cu", "__syncthreads();  // keys are copied", ""),
        PREFILL,
    ),
    seeded(
        "a later run of pages forgets the earlier one",
        (
            "prefill.cu",
            "sums[nth] = prefill.goes_on ?",
            "sums[nth] = false ?",
        ),
        PREFILL,
    ),
    seeded(
        "what halves leave out is left out",
        (
            "prefill.cu",
            "    multiply_add(sums, left_rest, right);\n",
            "",
        ),
        PREFILL,
    ),
    seeded(
        "no barrier between sums of warps and their sum",
        (
            "few.cu",
            "__syncthreads();  // sums of all warps are there",
            "",
        ),
        FEW,
    ),
    seeded(
        "a warp takes groups that another took",
        ("few.cu", "group += stride;", "group += TOGETHER;"),
        FEW,
    ),
    seeded(
        "a warp adds the sums of another's rows",
        (
            "few.cu",
            "const int first_warp = nth_row / FOUR * products.shares;",
            "const int first_warp = nth_row / FOUR;",
        ),
        FEW,
    ),
    seeded(
        "no barrier between steps",
        (
            "many.cu",
            "__syncthreads();  // the step's activations are there, and those of the one before are done with",
            "",
        ),
        MANY,
    ),
    seeded(
        "sums of shares are put where activations are still multiplied",
        (
            "many.cu",
            "__syncthreads();  // the last activations are done with",
            "",
        ),
        MANY,
    ),
    seeded(
        "no barrier between sums of shares and their sum",
        (
            "many.cu",
            "__syncthreads();  // sums of all shares are there",
            "",
        ),
        MANY,
    ),
    seeded(
        "activations of a stage too few are brought ahead",
        (
            "many.cu",
            "bring_tokens(step + Tile::STAGES - 1);",
            "bring_tokens(step + Tile::STAGES);",
        ),
        MANY,
    ),
    seeded(
        "columns of a lane's other half",
        (
            "many.cu",
            "tokens[nth].words[2 * half + 1]}}",
            "tokens[nth].words[2 * (1 - half) + 1]}}",
        ),
        MANY,
    ),
    seeded(
        "a row's scale is the first row's",
        ("many.cu", "products.scales[token];", "products.scales[0];"),
        MANY,
    ),
    seeded(
        "halves of a byte exchanged",
        (
            "matrix.cuh",
            "(half == 0 ? low << UP",
            "(half == 1 ? low << UP",
        ),
        FEW,
    ),
    seeded(
        "scales of the next run of groups",
        (
            "matrix.cuh",
            "four * runs + group / NESTED_GROUPS",
            "four * runs + (group + 1) / NESTED_GROUPS",
        ),
        FEW,
    ),
    seeded(
        "no barrier between the sums of a row's warps and its mean",
        (
            "halves.cuh",
            "__syncthreads();  // all warps' sums are there",
            "",
        ),
        ROWS,
    ),
    seeded(
        "no barrier after a digit was found",
        ("pick.cu", "__syncthreads();  // the digit is known", ""),
        PICK,
    ),
    seeded(
        "no barrier before a rounded query is used",
        ("scan.cu", "__syncthreads();  // rows are there", ""),
        SCAN,
    ),
    seeded(
        "a token sees the one after it",
        (
            "decode.cu",
            "min(PAGE_TOKENS, position + 1 - page",
            "min(PAGE_TOKENS, position + 2 - page",
        ),
        DECODE,
    ),
    seeded(
        "a token does not see itself",
        (
            "prefill.cu",
            "if (8 * tile + 2 * t + column >= visible)",
            "if (8 * tile + 2 * t + column >= visible - 1)",
        ),
        PREFILL,
    ),
    seeded(
        "the last page is left out",
        (
            "chosen.cuh",
            "position / PAGE_TOKENS + 1;",
            "(position + PAGE_TOKENS - 1) / PAGE_TOKENS;",
        ),
        DECODE,
    ),
    seeded(
        "one pair too many is made of a page",
        (
            "scores.cuh",
            "pair < PAIRS; pair += SCORE_THREADS<HEAD_DIM>) {\n        const int2",
            "pair <= PAIRS; pair += SCORE_THREADS<HEAD_DIM>) {\n        const int2",
        ),
        DECODE,
    ),
    seeded(
        "mass is added behind the last token that is counted",
        (
            "mass.cu",
            "position + 1, mass.room)",
            "position + 1, mass.room + 1)",
        ),
        MASS,
    ),
    seeded(
        "half a warp takes part",
        (
            "warp.cuh",
            "number += __shfl_xor_sync(ALL_LANES,",
            "number += __shfl_xor_sync(0xffffu,",
        ),
        ROWS,
    ),
    seeded(
        "the reduction leaves lanes out",
        (
            "warp.cuh",
            "number = fminf(number, __shfl_xor_sync(ALL_LANES, number, step));",
            "",
        ),
        SEALED,
    ),
    seeded(
        "a page of the list's neighbour",
        (
            "chosen.cuh",
            "return nth < chosen ? pages[nth]",
            "return nth < chosen ? pages[max(nth - 1, 0)]",
        ),
        CHOSEN,
    ),
    seeded(
        "a stale page: its slot is not filled to the end",
        ("gather.cu", "at < copy.pieces;", "at < copy.pieces - 1;"),
        GATHER,
    ),
    seeded(
        "a stale page: the copy before is done again",
        (
            "gather.cu",
            "gather.copies[blockIdx.x]",
            "gather.copies[blockIdx.x & ~1u]",
        ),
        GATHER,
    ),
    seeded(
        "a stale turn: all pages stand where the first does",
        (
            "index.cu",
            "index.rotation.pages[(size_t)page * (HEAD_DIM / 2) + pair]",
            "index.rotation.pages[(size_t)(page * 0) * (HEAD_DIM / 2) + pair]",
        ),
        INDEX,
    ),
    seeded(
        "codes are rounded up",
        (
            "quantize.cu",
            "rintf(__fdiv_rn(number",
            "ceilf(__fdiv_rn(number",
        ),
        SEALED,
    ),
    seeded(
        "ties go away from 0",
        (
            "quantize.cu",
            "rintf(__fdiv_rn(number",
            "roundf(__fdiv_rn(number",
        ),
        SEALED,
    ),
    seeded(
        "a grid's offset is rounded up",
        (
            "quantize.cu",
            "rintf((__fdiv_rn(middle",
            "ceilf((__fdiv_rn(middle",
        ),
        SEALED,
    ),
    seeded(
        "a grid's step is cut off",
        ("quantize.cu", "close) + 0x40u) >> 7", "close)) >> 7"),
        SEALED,
    ),
    seeded(
        "an offset of nothing is the least",
        ("quantize.cu", "isnan(offset) ? 0 : ", ""),
        SEALED,
    ),
    seeded(
        "a slot too far",
        (
            "append.cu",
            "+ position % PAGE_TOKENS)",
            "+ (position + 1) % PAGE_TOKENS)",
        ),
        APPENDED,
    ),
    seeded(
        "of equal pages the earlier ones",
        (
            "pick.cu",
            "tie_number >= left_out",
            "tie_number < shared.wanted",
        ),
        PICK,
    ),
];

/// Missing barriers that only ThreadSanitizer finds: all warps come as far as each other before one of them does harm.
pub const RACES: &[Seeded] = &[seeded(
    "results lie where a page still is",
    (
        "decode.cu",
        "__syncthreads();  // the pages are done with",
        "",
    ),
    DECODE,
)];
