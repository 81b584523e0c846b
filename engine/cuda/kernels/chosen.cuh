// Which pages the queries of one token and key/value head attend to: all it can see, or those that `pick` chose.
#pragma once

#include "page.cuh"

struct Chosen {
    /// Numbers of chosen pages in rising order, `[tokens][kv_heads][room]`; null: every page.
    const int* pages;
    /// How many, `[tokens][kv_heads]`.
    const int* counts;
    int room;
    /// Pages below this one are chosen from; those from it on (question and answer) are always attended to.
    int sealed;
};

/// The list of one token and head.
struct PageList {
    const int* pages;
    int chosen;
    int sealed;
    int length;

    __device__ __forceinline__ PageList(const Chosen& choice, int token, int kv_heads, int kv_head, int position) {
        const int visible = position / PAGE_TOKENS + 1;
        if (choice.pages == nullptr) {
            pages = nullptr;
            chosen = 0;
            sealed = 0;
        } else {
            const size_t nth = (size_t)token * kv_heads + kv_head;
            pages = choice.pages + nth * choice.room;
            chosen = choice.counts[nth];
            sealed = choice.sealed;
        }
        length = chosen + max(visible - sealed, 0);
    }

    __device__ __forceinline__ int at(int nth) const { return nth < chosen ? pages[nth] : sealed + nth - chosen; }
};
