// A reference run for injected faults, in C++: what cannot be had throws std::bad_alloc, what was had is good, and what was begun is undone.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <new>
#include <string>
#include <thread>
#include <vector>

static thread_local unsigned random_state;
static unsigned next_random() { return random_state = random_state * 1664525u + 1013904223u, random_state >> 8; }

static int live;
struct Counted {
    std::vector<std::string> lines;
    Counted(unsigned count) {
        for (unsigned i = 0; i < count; i++) lines.emplace_back(1 + next_random() % 3000, char('a' + i % 26));
    }
};

static unsigned long failures;

static void run(unsigned seed) {
    random_state = seed;
    std::map<unsigned, std::unique_ptr<Counted>> things;
    unsigned long caught = 0;
    for (int step = 0; step < 400; step++) {
        unsigned key = next_random() % 40;
        try {
            things[key] = std::make_unique<Counted>(1 + next_random() % 40);
            if (step % 20 == 0) {
                std::vector<char> large(1000000 + next_random() % 3000000, 7);
                large.resize(large.size() * 2, 9);
                if (large.front() != 7 || large.back() != 9) abort();
            }
            struct alignas(128) Wide {
                char bytes[300];
            };
            auto wide = std::make_unique<Wide[]>(1 + next_random() % 10);
            if (reinterpret_cast<size_t>(wide.get()) % 128 != 0) abort();
        } catch (const std::bad_alloc &) {
            caught++;
        }
        char *maybe = new (std::nothrow) char[1 + next_random() % 500000];
        delete[] maybe;
        for (auto &[number, thing] : things)
            if (thing != nullptr)
                for (size_t i = 0; i < thing->lines.size(); i++)
                    if (thing->lines[i].find_first_not_of(char('a' + i % 26)) != std::string::npos) abort();
        if (step % 7 == 0) things.erase(next_random() % 40);
    }
    __atomic_fetch_add(&failures, caught, __ATOMIC_RELAXED);
}

int main() {
    try {
        std::thread other(run, 5);
        run(3);
        other.join();
    } catch (const std::exception &) { // no thread to be had
        run(4);
    }
    run(6);
    puts("ok");
}
