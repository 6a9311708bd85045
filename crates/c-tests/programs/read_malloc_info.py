"""Reads a document of malloc_info from standard input by three parsers; fails if it is not as glibc's are, or does not add up."""

import re
import sys
import xml.dom.minidom
import xml.etree.ElementTree
import xml.sax

text = sys.stdin.read()
xml.sax.parseString(text.encode(), xml.sax.ContentHandler())
assert xml.dom.minidom.parseString(text).documentElement.tagName == "malloc"
root = xml.etree.ElementTree.fromstring(text)
assert root.tag == "malloc" and root.attrib == {"version": "1"}


def figure(element, tag, kind, what="size"):
    (found,) = [child for child in element.findall(tag) if child.get("type") == kind]
    return int(found.get(what))


heaps = root.findall("heap")
assert [int(heap.get("nr")) for heap in heaps] == list(range(len(heaps)))
for tag, kind in [("total", "fast"), ("total", "rest"), ("system", "current"), ("aspace", "total"), ("aspace", "mprotect")]:
    assert sum(figure(heap, tag, kind) for heap in heaps) == figure(root, tag, kind), (tag, kind)
free = figure(root, "total", "fast") + figure(root, "total", "rest")
sizes = [size for heap in heaps for size in heap.find("sizes")]
assert sizes and all(int(size.get("from")) <= int(size.get("to")) for size in sizes)
assert sum(int(size.get("total")) for size in sizes) <= free
assert figure(root, "total", "mmap", "count") == 1 and figure(root, "total", "mmap") >= 3 << 20
assert figure(root, "system", "max") >= figure(root, "system", "current")
# The identity that scripts use; glibc's sizes have a flag in them, which makes its sum larger by one for each chunk.
in_use = figure(root, "system", "current") - free
said = int(re.search(r"<!-- (\d+) -->", text).group(1))
if "--exact" in sys.argv:
    assert in_use == said, (in_use, said)
else:
    assert 0 <= said - in_use < 5000, (in_use, said)
