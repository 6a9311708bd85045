// The twenty operators new and delete, and what happens when there is no memory.
#include "cases.h"
#include <cstdint>
#include <cstring>
#include <malloc.h>
#include <memory>
#include <new>
#include <string>
#include <thread>
#include <vector>

namespace {

// A pair of new and delete may be left out by the compiler: these are not.
void *kept(void *pointer) { return hidden_pointer(pointer); }

const std::size_t huge = hidden(SIZE_MAX / 2 + 1);
const std::align_val_t wide = std::align_val_t(256);

bool is_aligned(void *pointer, std::size_t align) { return std::uintptr_t(pointer) % align == 0; }

void every_form_pairs_with_its_delete() {
    for (std::size_t size = 0; size < 400000; size += 1 + size / 3) {
        void *block = kept(::operator new(size));
        CHECK(block != nullptr);
        std::memset(block, 1, size);
        ::operator delete(block);
        ::operator delete(kept(::operator new(size)), size);
        ::operator delete(kept(::operator new(size, std::nothrow)), std::nothrow);
        ::operator delete[](kept(::operator new[](size)));
        ::operator delete[](kept(::operator new[](size)), size);
        ::operator delete[](kept(::operator new[](size, std::nothrow)), std::nothrow);
        for (std::size_t align = 8; align <= 1 << 16; align *= 2) {
            std::align_val_t wish = std::align_val_t(align);
            block = kept(::operator new(size, wish));
            CHECK(block != nullptr && is_aligned(block, align));
            std::memset(block, 2, size);
            ::operator delete(block, wish);
            ::operator delete(kept(::operator new(size, wish)), size, wish);
            block = kept(::operator new(size, wish, std::nothrow));
            CHECK(block != nullptr && is_aligned(block, align));
            ::operator delete(block, wish, std::nothrow);
            block = kept(::operator new[](size, wish));
            CHECK(block != nullptr && is_aligned(block, align));
            ::operator delete[](block, wish);
            ::operator delete[](kept(::operator new[](size, wish)), size, wish);
            block = kept(::operator new[](size, wish, std::nothrow));
            CHECK(block != nullptr && is_aligned(block, align));
            ::operator delete[](block, wish, std::nothrow);
        }
    }
}

void delete_of_null_does_nothing() {
    void *null = hidden_pointer(nullptr);
    ::operator delete(null);
    ::operator delete[](null);
    ::operator delete(null, std::size_t(8));
    ::operator delete[](null, std::size_t(8));
    ::operator delete(null, std::nothrow);
    ::operator delete[](null, std::nothrow);
    ::operator delete(null, wide);
    ::operator delete[](null, wide);
    ::operator delete(null, std::size_t(8), wide);
    ::operator delete[](null, std::size_t(8), wide);
    ::operator delete(null, wide, std::nothrow);
    ::operator delete[](null, wide, std::nothrow);
}

// Whether a call throws std::bad_alloc, and what lies between is destroyed.
template <class Call> bool throws_bad_alloc(Call call) {
    struct Guard {
        bool &destroyed;
        ~Guard() { destroyed = true; }
    };
    bool destroyed = false;
    try {
        Guard guard{destroyed};
        call();
    } catch (const std::bad_alloc &error) {
        return destroyed && std::string(error.what()) == std::bad_alloc().what();
    }
    return false;
}

void impossible_sizes_throw_bad_alloc() {
    for (int i = 0; i < 100; i++) {
        CHECK(throws_bad_alloc([] { ::operator delete(kept(::operator new(huge))); }));
        CHECK(throws_bad_alloc([] { ::operator delete[](kept(::operator new[](huge))); }));
        CHECK(throws_bad_alloc([] { ::operator delete(kept(::operator new(huge, wide)), wide); }));
        CHECK(throws_bad_alloc([] { ::operator delete[](kept(::operator new[](huge, wide)), wide); }));
    }
}

void sizes_near_the_end_do_not_wrap() {
    for (std::size_t less : {1, 2, 15, 16, 255, 256, 4095, 4096, 8192})
        for (std::size_t align : {16, 256, 4096, 65536}) {
            std::size_t size = hidden(SIZE_MAX - less + 1);
            CHECK(throws_bad_alloc([&] { kept(::operator new(size)); }));
            CHECK(throws_bad_alloc([&] { kept(::operator new(size, std::align_val_t(align))); }));
            CHECK(kept(::operator new(size, std::align_val_t(align), std::nothrow)) == nullptr);
        }
}

void alignments_that_are_none_fail() {
    std::align_val_t odd = std::align_val_t(hidden(48));
    CHECK(throws_bad_alloc([&] { kept(::operator new(100, odd)); }));
    CHECK(throws_bad_alloc([&] { kept(::operator new[](100, odd)); }));
    CHECK(kept(::operator new(100, odd, std::nothrow)) == nullptr);
    CHECK(kept(::operator new[](100, odd, std::nothrow)) == nullptr);
}

void nothrow_forms_answer_null() {
    CHECK(kept(::operator new(huge, std::nothrow)) == nullptr);
    CHECK(kept(::operator new[](huge, std::nothrow)) == nullptr);
    CHECK(kept(::operator new(huge, wide, std::nothrow)) == nullptr);
    CHECK(kept(::operator new[](huge, wide, std::nothrow)) == nullptr);
    std::vector<char> *none = nullptr;
    (void)none;
}

int calls;

void give_up_after_three() {
    if (++calls == 3) std::set_new_handler(nullptr);
}

void the_new_handler_is_called_until_there_is_none() {
    for (int form = 0; form < 4; form++) {
        calls = 0;
        std::set_new_handler(give_up_after_three);
        CHECK(throws_bad_alloc([&] {
            if (form == 0) kept(::operator new(huge));
            if (form == 1) kept(::operator new[](huge));
            if (form == 2) kept(::operator new(huge, wide));
            if (form == 3) kept(::operator new[](huge, wide));
        }));
        CHECK(calls == 3);
        calls = 0;
        std::set_new_handler(give_up_after_three);
        void *block = form == 0   ? kept(::operator new(huge, std::nothrow))
                      : form == 1 ? kept(::operator new[](huge, std::nothrow))
                      : form == 2 ? kept(::operator new(huge, wide, std::nothrow))
                                  : kept(::operator new[](huge, wide, std::nothrow));
        CHECK(block == nullptr && calls == 3);
    }
}

struct Own {
    int number;
};

void throw_own() {
    calls++;
    throw Own{42};
}

struct OwnBadAlloc : std::bad_alloc {
    const char *what() const noexcept override { return "own"; }
};

void throw_own_bad_alloc() { throw OwnBadAlloc(); }

void what_the_new_handler_throws_passes_through() {
    std::set_new_handler(throw_own);
    calls = 0;
    try {
        kept(::operator new(huge));
        CHECK(false);
    } catch (const Own &own) {
        CHECK(own.number == 42);
    }
    try {
        kept(::operator new[](huge, wide));
        CHECK(false);
    } catch (const Own &own) {
        CHECK(own.number == 42 && calls == 2);
    }
    std::set_new_handler(throw_own_bad_alloc);
    try {
        kept(::operator new(huge));
        CHECK(false);
    } catch (const std::bad_alloc &error) {
        CHECK(std::strcmp(error.what(), "own") == 0);
    }
}

void nothrow_forms_catch_what_the_new_handler_throws() {
    for (std::new_handler handler : {throw_own, throw_own_bad_alloc}) {
        std::set_new_handler(handler);
        for (int i = 0; i < 100; i++) {
            CHECK(kept(::operator new(huge, std::nothrow)) == nullptr);
            CHECK(kept(::operator new[](huge, std::nothrow)) == nullptr);
            CHECK(kept(::operator new(huge, wide, std::nothrow)) == nullptr);
            CHECK(kept(::operator new[](huge, wide, std::nothrow)) == nullptr);
        }
    }
    CHECK(std::uncaught_exceptions() == 0 && std::current_exception() == nullptr);
}

void containers_of_all_kinds() {
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; i++)
        threads.emplace_back([i] {
            std::vector<std::string> words;
            for (int j = 0; j < 20000; j++) words.push_back(std::string(std::size_t(j % 300), char('a' + i)));
            for (const std::string &word : words)
                for (char letter : word) CHECK(letter == char('a' + i));
        });
    for (std::thread &thread : threads) thread.join();
    struct alignas(128) Wide {
        char bytes[300];
    };
    std::vector<std::unique_ptr<Wide>> wides;
    for (int i = 0; i < 1000; i++) {
        wides.push_back(std::make_unique<Wide>());
        CHECK(is_aligned(wides.back().get(), 128));
    }
}

struct Static {
    std::string text = std::string(1000, 'x');
    ~Static() { CHECK(std::string(text + text).size() == 2000); }
};
Static before_main;
thread_local Static of_the_thread;

void static_objects_allocate_in_their_destructors() {
    std::thread([] { CHECK(of_the_thread.text.size() == 1000); }).join();
    CHECK(of_the_thread.text.size() == 1000 && before_main.text.size() == 1000);
}

// Under a limit on address space.
std::vector<void *> reserve;

void free_the_reserve() {
    calls++;
    for (void *block : reserve) ::operator delete(block);
    reserve.clear();
    std::set_new_handler(nullptr);
}

void bad_alloc_is_caught_when_memory_has_run_out() {
    for (std::size_t size : {64, 1000, 30000, 1000000}) {
        reserve.reserve(200);
        for (int i = 0; i < 200; i++) reserve.push_back(kept(::operator new(size)));
        struct Node {
            Node *next;
        } *list = nullptr;
        calls = 0;
        std::set_new_handler(free_the_reserve);
        bool caught = false;
        while (!caught) try {
                Node *node = static_cast<Node *>(kept(::operator new(size)));
                node->next = list;
                list = node;
            } catch (const std::bad_alloc &) {
                caught = true;
            }
        CHECK(calls == 1);
        CHECK(kept(::operator new(size, std::nothrow)) == nullptr);
        while (list != nullptr) {
            Node *next = list->next;
            ::operator delete(list, size);
            list = next;
        }
        ::operator delete(kept(::operator new(size)));
    }
}

const test_case cases[] = {
    ON_BOTH(every_form_pairs_with_its_delete),
    ON_BOTH(delete_of_null_does_nothing),
    ON_BOTH(impossible_sizes_throw_bad_alloc),
    ON_STRATA(sizes_near_the_end_do_not_wrap), // libstdc++ 12's do
    ON_BOTH(alignments_that_are_none_fail),
    ON_BOTH(nothrow_forms_answer_null),
    ON_BOTH(the_new_handler_is_called_until_there_is_none),
    ON_BOTH(what_the_new_handler_throws_passes_through),
    ON_BOTH(nothrow_forms_catch_what_the_new_handler_throws),
    ON_BOTH(containers_of_all_kinds),
    ON_BOTH(static_objects_allocate_in_their_destructors),
};

const test_case limited[] = {ON_BOTH(bad_alloc_is_caught_when_memory_has_run_out)};

} // namespace

int main(int argc, char **argv) {
    if (argc == 2 && perform(limited, 1, argc, argv) == 0) return 0;
    return perform(cases, sizeof(cases) / sizeof(cases[0]), argc, argv);
}
