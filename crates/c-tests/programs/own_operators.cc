// A program with operators new and delete of its own, the plain ones and those with an alignment: all other forms call them.
#include "cases.h"
#include <cstdint>
#include <exception>
#include <new>
#include <string>

namespace {

// Objects stand behind a header that no other allocator knows of, in an arena of the program's.
constexpr std::uint64_t header = 0x6f626a6563742121;
alignas(4096) unsigned char arena[1 << 20];
std::size_t used;
int news, deletes, aligned_news, aligned_deletes;
bool runs_out;

void *give(std::size_t size, std::size_t align) {
    if (runs_out) throw std::bad_alloc();
    std::size_t at = (used + sizeof(header) + align - 1) / align * align;
    CHECK(at + size <= sizeof(arena));
    used = at + size;
    new (arena + at - sizeof(header)) std::uint64_t(header);
    return arena + at;
}

void take(void *object) {
    if (object == nullptr) return;
    unsigned char *bytes = static_cast<unsigned char *>(object);
    CHECK(bytes >= arena && bytes < arena + sizeof(arena));
    CHECK(*reinterpret_cast<std::uint64_t *>(bytes - sizeof(header)) == header);
}

} // namespace

void *operator new(std::size_t size) { return news++, give(size, 16); }
void operator delete(void *object) noexcept { deletes++, take(object); }
void *operator new(std::size_t size, std::align_val_t align) { return aligned_news++, give(size, std::size_t(align)); }
void operator delete(void *object, std::align_val_t) noexcept { aligned_deletes++, take(object); }

namespace {

const std::align_val_t wide = std::align_val_t(256);
void *kept(void *pointer) { return hidden_pointer(pointer); }

void arrays_are_made_by_it() {
    ::operator delete[](kept(::operator new[](hidden(100))));
    CHECK(news == 1 && deletes == 1);
    ::operator delete[](kept(::operator new[](hidden(100), wide)), wide);
    CHECK(aligned_news == 1 && aligned_deletes == 1);
    // Its size stands before it, since its objects are to be destroyed.
    std::string *strings = static_cast<std::string *>(kept(new std::string[3]));
    CHECK(news == 2);
    delete[] strings;
    CHECK(deletes == 2);
}

void nothrow_forms_call_it() {
    ::operator delete(kept(::operator new(hidden(100), std::nothrow)), std::nothrow);
    ::operator delete[](kept(::operator new[](hidden(100), std::nothrow)), std::nothrow);
    CHECK(news == 2 && deletes == 2);
    ::operator delete(kept(::operator new(hidden(100), wide, std::nothrow)), wide, std::nothrow);
    ::operator delete[](kept(::operator new[](hidden(100), wide, std::nothrow)), wide, std::nothrow);
    CHECK(aligned_news == 2 && aligned_deletes == 2);
}

void nothrow_forms_catch_what_it_throws() {
    for (int i = 0; i < 100; i++) {
        runs_out = true;
        CHECK(kept(::operator new(hidden(100), std::nothrow)) == nullptr);
        CHECK(kept(::operator new[](hidden(100), std::nothrow)) == nullptr);
        CHECK(kept(::operator new(hidden(100), wide, std::nothrow)) == nullptr);
        CHECK(kept(::operator new[](hidden(100), wide, std::nothrow)) == nullptr);
        runs_out = false;
    }
    CHECK(news == 200 && aligned_news == 200);
    CHECK(std::uncaught_exceptions() == 0 && std::current_exception() == nullptr);
}

void what_it_throws_passes_through_the_array_forms() {
    runs_out = true;
    for (int form = 0; form < 2; form++) try {
            kept(form == 0 ? ::operator new[](hidden(100)) : ::operator new[](hidden(100), wide));
            CHECK(false);
        } catch (const std::bad_alloc &) {
        }
    CHECK(news == 1 && aligned_news == 1);
}

void sized_forms_call_the_unsized_ones() {
    ::operator delete[](kept(::operator new[](hidden(100))), hidden(100));
    CHECK(deletes == 1);
    for (std::size_t size = 1; size <= 100000; size *= 10) ::operator delete(kept(::operator new(hidden(size))), hidden(size));
    CHECK(deletes == 7);
    std::string *one = static_cast<std::string *>(kept(new std::string));
    delete one;
    CHECK(deletes == 8);
    ::operator delete(kept(::operator new(hidden(100), wide)), hidden(100), wide);
    ::operator delete[](kept(::operator new[](hidden(100), wide)), hidden(100), wide);
    CHECK(aligned_deletes == 2);
}

// Taken in a program that is not position-independent, the address is an entry of the program's own, of no library's.
void (*volatile sized_delete)(void *, std::size_t) = static_cast<void (*)(void *, std::size_t)>(::operator delete);
void (*volatile sized_array_delete)(void *, std::size_t) = static_cast<void (*)(void *, std::size_t)>(::operator delete[]);

void sized_forms_may_have_their_address_taken() {
    for (std::size_t size = 1; size <= 100000; size *= 10) sized_delete(kept(::operator new(hidden(size))), size);
    CHECK(deletes == 6);
    sized_array_delete(kept(::operator new[](hidden(100))), 100);
    CHECK(deletes == 7);
    ::operator delete(kept(::operator new(hidden(100))), hidden(100));
    CHECK(deletes == 8);
}

int deletes_of_constructors;

__attribute__((constructor(101))) void before_main() {
    ::operator delete(kept(::operator new(hidden(100))), hidden(100));
    deletes_of_constructors = deletes;
    news = deletes = 0;
}

void constructors_have_it_called_too() { CHECK(deletes_of_constructors == 1); }

void null_is_no_object_to_it() {
    void *null = hidden_pointer(nullptr);
    ::operator delete[](null), ::operator delete[](null, hidden(8)), ::operator delete(null, std::nothrow);
    ::operator delete(null, hidden(8)), ::operator delete(null, hidden(4096));
    ::operator delete[](null, wide), ::operator delete(null, hidden(8), wide), ::operator delete[](null, wide, std::nothrow);
}

void the_rest_of_the_program_is_not_its() {
    for (std::size_t size = 1; size < 100000; size *= 2) {
        unsigned char *block = static_cast<unsigned char *>(std::malloc(size));
        CHECK(block != nullptr && (block < arena || block >= arena + sizeof(arena)));
        std::free(block);
    }
}

const test_case cases[] = {
    ON_BOTH(arrays_are_made_by_it),
    ON_BOTH(nothrow_forms_call_it),
    ON_BOTH(nothrow_forms_catch_what_it_throws),
    ON_BOTH(what_it_throws_passes_through_the_array_forms),
    ON_BOTH(sized_forms_call_the_unsized_ones),
    ON_BOTH(sized_forms_may_have_their_address_taken),
    ON_BOTH(constructors_have_it_called_too),
    ON_BOTH(null_is_no_object_to_it),
    ON_BOTH(the_rest_of_the_program_is_not_its),
};

} // namespace

MAIN(cases)
