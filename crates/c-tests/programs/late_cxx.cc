// A C++ library that a C program loads.
#include <cstddef>
#include <new>
#include <string>

extern "C" int catches_bad_alloc(std::size_t size) {
    try {
        ::operator delete(::operator new(size));
    } catch (const std::bad_alloc &) {
        return 1;
    }
    return 0;
}

static void throws() { throw 42; }

extern "C" int nothrow_answers_null(std::size_t size) {
    std::set_new_handler(throws);
    bool null = ::operator new(size, std::nothrow) == nullptr;
    std::set_new_handler(nullptr);
    return null;
}

extern "C" int allocates(void) { return std::string(10000, 'x').size() == 10000; }
