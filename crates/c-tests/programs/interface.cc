// The interface in C++, a check at a time.
#include "tap.h"
#include <cstdint>
#include <cstring>
#include <deque>
#include <malloc.h>
#include <map>
#include <memory>
#include <memory_resource>
#include <new>
#include <sstream>
#include <strata/strata.h>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#pragma weak __size_returning_new
#pragma weak __size_returning_new_aligned
#pragma weak __size_returning_new_hot_cold
#pragma weak __size_returning_new_aligned_hot_cold

static void *kept(void *pointer) { return hidden_pointer(pointer); }
static const std::size_t huge = hidden(SIZE_MAX / 2 + 1);
static const std::align_val_t wide = std::align_val_t(256);
static bool is_aligned(void *pointer, std::size_t align) { return std::uintptr_t(pointer) % align == 0; }

template <class Call> static bool throws_bad_alloc(Call call) {
    struct Guard {
        bool &destroyed;
        ~Guard() { destroyed = true; }
    };
    bool destroyed = false;
    try {
        Guard guard{destroyed};
        call();
    } catch (const std::bad_alloc &) {
        return destroyed;
    }
    return false;
}

template <class Call> static void for_sizes(Call call) {
    for (std::size_t size = 0; size < 3000000; size += 1 + size / 3) call(size);
}

static void *used(void *block, std::size_t size) {
    CHECK(block != nullptr);
    std::memset(block, 1, size);
    return kept(block);
}

CASE(new_and_delete, BOTH) {
    for_sizes([](std::size_t size) { ::operator delete(used(::operator new(size), size)); });
}
CASE(new_and_sized_delete, BOTH) {
    for_sizes([](std::size_t size) { ::operator delete(used(::operator new(size), size), size); });
}
CASE(new_nothrow_and_delete_nothrow, BOTH) {
    for_sizes([](std::size_t size) { ::operator delete(used(::operator new(size, std::nothrow), size), std::nothrow); });
}
CASE(array_new_and_delete, BOTH) {
    for_sizes([](std::size_t size) { ::operator delete[](used(::operator new[](size), size)); });
}
CASE(array_new_and_sized_delete, BOTH) {
    for_sizes([](std::size_t size) { ::operator delete[](used(::operator new[](size), size), size); });
}
CASE(array_new_nothrow_and_delete_nothrow, BOTH) {
    for_sizes([](std::size_t size) { ::operator delete[](used(::operator new[](size, std::nothrow), size), std::nothrow); });
}

template <class Call> static void for_alignments(Call call) {
    for (std::size_t align = 1; align <= 1 << 20; align *= 2)
        for (std::size_t size = 1; size < 500000; size *= 5) call(size, std::align_val_t(align));
}

static void *used(void *block, std::size_t size, std::align_val_t align) {
    CHECK(is_aligned(block, std::size_t(align)));
    return used(block, size);
}

CASE(aligned_new_and_delete, BOTH) {
    for_alignments([](std::size_t size, std::align_val_t align) { ::operator delete(used(::operator new(size, align), size, align), align); });
}
CASE(aligned_new_and_sized_delete, BOTH) {
    for_alignments([](std::size_t size, std::align_val_t align) { ::operator delete(used(::operator new(size, align), size, align), size, align); });
}
CASE(aligned_new_nothrow_and_delete_nothrow, BOTH) {
    for_alignments([](std::size_t size, std::align_val_t align) {
        ::operator delete(used(::operator new(size, align, std::nothrow), size, align), align, std::nothrow);
    });
}
CASE(aligned_array_new_and_delete, BOTH) {
    for_alignments([](std::size_t size, std::align_val_t align) { ::operator delete[](used(::operator new[](size, align), size, align), align); });
}
CASE(aligned_array_new_and_sized_delete, BOTH) {
    for_alignments([](std::size_t size, std::align_val_t align) { ::operator delete[](used(::operator new[](size, align), size, align), size, align); });
}
CASE(aligned_array_new_nothrow_and_delete_nothrow, BOTH) {
    for_alignments([](std::size_t size, std::align_val_t align) {
        ::operator delete[](used(::operator new[](size, align, std::nothrow), size, align), align, std::nothrow);
    });
}
CASE(delete_of_null_does_nothing, BOTH) {
    void *null = hidden_pointer(nullptr);
    ::operator delete(null), ::operator delete[](null);
    ::operator delete(null, std::size_t(8)), ::operator delete[](null, std::size_t(8));
    ::operator delete(null, std::nothrow), ::operator delete[](null, std::nothrow);
    ::operator delete(null, wide), ::operator delete[](null, wide);
    ::operator delete(null, std::size_t(8), wide), ::operator delete[](null, std::size_t(8), wide);
    ::operator delete(null, wide, std::nothrow), ::operator delete[](null, wide, std::nothrow);
}
CASE(new_of_nothing_is_an_object_of_its_own, BOTH) {
    void *first = kept(::operator new(0)), *second = kept(::operator new(0));
    CHECK(first != nullptr && second != nullptr && first != second);
}
CASE(new_aligns_for_every_fundamental_type, BOTH) {
    for (std::size_t size = __STDCPP_DEFAULT_NEW_ALIGNMENT__; size < 5000; size++)
        CHECK(is_aligned(::operator new(size), __STDCPP_DEFAULT_NEW_ALIGNMENT__));
}
CASE(new_throws_bad_alloc, BOTH) {
    for (int i = 0; i < 100; i++) CHECK(throws_bad_alloc([] { kept(::operator new(huge)); }));
}
CASE(array_new_throws_bad_alloc, BOTH) { CHECK(throws_bad_alloc([] { kept(::operator new[](huge)); })); }
CASE(aligned_new_throws_bad_alloc, BOTH) { CHECK(throws_bad_alloc([] { kept(::operator new(huge, wide)); })); }
CASE(aligned_array_new_throws_bad_alloc, BOTH) { CHECK(throws_bad_alloc([] { kept(::operator new[](huge, wide)); })); }
CASE(bad_alloc_passes_through_functions_that_destroy, BOTH) {
    struct Nested {
        static void at(int depth) {
            std::string text(100, 'x');
            if (depth == 0) kept(::operator new(huge));
            else at(depth - 1);
            CHECK(text.size() == 100);
        }
    };
    CHECK(throws_bad_alloc([] { Nested::at(50); }));
}
CASE(bad_alloc_in_many_threads, BOTH) {
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; i++)
        threads.emplace_back([] {
            for (int j = 0; j < 200; j++) CHECK(throws_bad_alloc([] { kept(::operator new(huge)); }));
        });
    for (std::thread &thread : threads) thread.join();
}
CASE(nothrow_forms_answer_null, BOTH) {
    CHECK(kept(::operator new(huge, std::nothrow)) == nullptr && kept(::operator new[](huge, std::nothrow)) == nullptr);
    CHECK(kept(::operator new(huge, wide, std::nothrow)) == nullptr && kept(::operator new[](huge, wide, std::nothrow)) == nullptr);
}
CASE(aligned_sizes_near_the_end_do_not_wrap, STRATA) { // libstdc++ 12's do
    for (std::size_t less : {1, 16, 256, 4096, 65536}) {
        std::size_t size = hidden(SIZE_MAX - less + 1);
        CHECK(throws_bad_alloc([&] { kept(::operator new(size, wide)); }));
        CHECK(kept(::operator new(size, wide, std::nothrow)) == nullptr);
    }
}
CASE(alignments_that_are_no_power_of_two_fail, BOTH) {
    std::align_val_t odd = std::align_val_t(hidden(48));
    CHECK(throws_bad_alloc([&] { kept(::operator new(100, odd)); }));
    CHECK(kept(::operator new(100, odd, std::nothrow)) == nullptr);
}

static int calls;
static void give_up_after_three() {
    if (++calls == 3) std::set_new_handler(nullptr);
}
template <class Call> static void handler_is_called_until_there_is_none(Call call) {
    calls = 0;
    std::set_new_handler(give_up_after_three);
    CHECK(call() && calls == 3);
}
CASE(new_calls_the_new_handler, BOTH) {
    handler_is_called_until_there_is_none([] { return throws_bad_alloc([] { kept(::operator new(huge)); }); });
    handler_is_called_until_there_is_none([] { return throws_bad_alloc([] { kept(::operator new[](huge)); }); });
}
CASE(aligned_new_calls_the_new_handler, BOTH) {
    handler_is_called_until_there_is_none([] { return throws_bad_alloc([] { kept(::operator new(huge, wide)); }); });
    handler_is_called_until_there_is_none([] { return throws_bad_alloc([] { kept(::operator new[](huge, wide)); }); });
}
CASE(nothrow_new_calls_the_new_handler, BOTH) {
    handler_is_called_until_there_is_none([] { return kept(::operator new(huge, std::nothrow)) == nullptr; });
    handler_is_called_until_there_is_none([] { return kept(::operator new[](huge, wide, std::nothrow)) == nullptr; });
}
static void throw_number() { throw 42; }
CASE(what_the_new_handler_throws_passes_through, BOTH) {
    std::set_new_handler(throw_number);
    for (int form = 0; form < 4; form++) try {
            if (form == 0) kept(::operator new(huge));
            if (form == 1) kept(::operator new[](huge));
            if (form == 2) kept(::operator new(huge, wide));
            if (form == 3) kept(::operator new[](huge, wide));
            CHECK(false);
        } catch (int number) {
            CHECK(number == 42);
        }
}
CASE(nothrow_new_catches_what_the_new_handler_throws, BOTH) {
    std::set_new_handler(throw_number);
    for (int i = 0; i < 100; i++) CHECK(kept(::operator new(huge, std::nothrow)) == nullptr && kept(::operator new(huge, wide, std::nothrow)) == nullptr);
    CHECK(std::uncaught_exceptions() == 0 && std::current_exception() == nullptr);
}
CASE(malloc_and_new_share_an_allocator, BOTH) { // not allowed, and common
    std::free(kept(::operator new(100)));
    ::operator delete(kept(std::malloc(100)));
    CHECK(malloc_usable_size(kept(::operator new(1000))) >= 1000);
}

CASE(size_returning_new_says_what_can_be_used, STRATA) {
    for_sizes([](std::size_t size) {
        __sized_ptr_t had = __size_returning_new(size);
        CHECK(had.n >= size && had.n == malloc_usable_size(had.p));
        ::operator delete(used(had.p, had.n), had.n);
        had = __size_returning_new_hot_cold(size, 128);
        ::operator delete(used(had.p, had.n));
    });
}
CASE(size_returning_new_aligned, STRATA) {
    for_alignments([](std::size_t size, std::align_val_t align) {
        __sized_ptr_t had = __size_returning_new_aligned(size, align);
        CHECK(had.n >= size && is_aligned(had.p, std::size_t(align)));
        ::operator delete(used(had.p, had.n), had.n, align);
        had = __size_returning_new_aligned_hot_cold(size, align, 0);
        ::operator delete(used(had.p, had.n), align);
    });
}
CASE(size_returning_new_throws_bad_alloc, STRATA) {
    for (int i = 0; i < 100; i++) {
        CHECK(throws_bad_alloc([] { __size_returning_new(huge); }));
        CHECK(throws_bad_alloc([] { __size_returning_new_aligned(huge, wide); }));
        CHECK(throws_bad_alloc([] { __size_returning_new_aligned(100, std::align_val_t(hidden(48))); }));
        CHECK(throws_bad_alloc([] { __size_returning_new_aligned(100, std::align_val_t(hidden(0))); }));
    }
    handler_is_called_until_there_is_none([] { return throws_bad_alloc([] { __size_returning_new(huge); }); });
}

CASE(vectors_and_strings, BOTH) {
    std::vector<std::string> words;
    for (int i = 0; i < 100000; i++) words.push_back(std::string(std::size_t(i % 200), 'x'));
    for (int i = 0; i < 100000; i++) CHECK(words[std::size_t(i)].size() == std::size_t(i % 200));
    CHECK(throws_bad_alloc([] { std::vector<char>(hidden(std::size_t(1) << 50)); }));
}
CASE(maps_and_deques, BOTH) {
    std::map<int, std::string> ordered;
    std::unordered_map<int, std::deque<int>> unordered;
    for (int i = 0; i < 20000; i++) ordered[i * 7919 % 20011] = "value", unordered[i % 100].push_back(i);
    CHECK(ordered.size() == 20000 && unordered.size() == 100);
}
CASE(objects_that_are_aligned_beyond_the_default, BOTH) {
    struct alignas(128) Wide {
        char bytes[300];
    };
    std::vector<std::unique_ptr<Wide>> all;
    for (int i = 0; i < 2000; i++) all.push_back(std::make_unique<Wide>()), CHECK(is_aligned(all.back().get(), 128));
    std::vector<Wide> row(1000);
    CHECK(is_aligned(row.data(), 128));
}
CASE(memory_resources, BOTH) {
    std::pmr::unsynchronized_pool_resource pool;
    std::pmr::vector<std::pmr::string> words(&pool);
    for (int i = 0; i < 20000; i++) words.emplace_back(std::size_t(i % 100), 'x');
    CHECK(words.size() == 20000);
}
CASE(streams, BOTH) {
    std::ostringstream out;
    for (int i = 0; i < 100000; i++) out << i << ' ';
    CHECK(out.str().size() > 500000);
}
struct Static {
    std::string text = std::string(1000, 'x');
    ~Static() { CHECK((text + text).size() == 2000); }
};
static Static before_main;
static thread_local Static of_the_thread;
CASE(static_and_thread_local_objects, BOTH) {
    for (int i = 0; i < 50; i++) std::thread([] { CHECK(of_the_thread.text.size() == 1000); }).join();
    CHECK(of_the_thread.text.size() == before_main.text.size());
}
struct Counted {
    static inline int live;
    int number = ++live;
    static void *operator new(std::size_t size) { return std::malloc(size); }
    static void operator delete(void *pointer) { std::free(pointer); }
    ~Counted() { --live; }
};
CASE(operators_of_a_class, BOTH) {
    std::vector<std::unique_ptr<Counted>> all;
    for (int i = 0; i < 1000; i++) all.emplace_back(new Counted);
    CHECK(Counted::live == 1000);
    all.clear();
    CHECK(Counted::live == 0);
}
struct Throws {
    std::string text = std::string(500, 'x');
    Throws() { throw 1; }
};
CASE(a_constructor_that_throws_gives_its_memory_back, BOTH) {
    std::size_t before = 0;
    for (int i = 0; i < 20000; i++) {
        try {
            delete new Throws;
            CHECK(false);
        } catch (int) {
        }
        struct mallinfo2 info = mallinfo2();
        if (i == 100) before = info.uordblks;
        CHECK(before == 0 || info.uordblks < before + 100000);
        if (i > 200) i += 99;
    }
}
