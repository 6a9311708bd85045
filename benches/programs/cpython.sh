# CPython's own tests, those that allocate most
# needs: python3
case $1 in
prepare) python3 -c 'import test.libregrtest, test.test_list' 2>/dev/null || { echo "test package of python3" >&2; exit 77; } ;;
run)
    tests='test_list test_dict test_set test_bytes test_unicode test_json test_gc test_weakref test_array test_re test_zlib'
    [ "$2" -gt 1 ] && tests="$tests test_io test_threading test_sqlite3 test_pickle test_decimal
        test_asyncio test_memoryview test_mmap test_collections test_itertools test_struct test_ctypes test_subprocess test_fork1 test_signal test_multiprocessing_main_handling"
    # Python's own small-object pools off, so that every object is a malloc.
    for test in $tests; do
        PYTHONMALLOC=malloc timeout 280 python3 -m test -W -q "$test" >log 2>&1
        status=$?
        echo "$test $status"
        [ "$status" = 0 ] && continue
        grep -E '^(FAIL|ERROR): ' log | sort
        # Why, which may have addresses in it, and is not compared.
        grep -E '^[A-Za-z]+Error: ' log >&2
    done
    true ;;
esac
