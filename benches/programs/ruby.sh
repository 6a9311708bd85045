# ruby: strings, hashes, threads, garbage collection and compaction
# needs: ruby
case $1 in
prepare) ;;
run) ruby - "$2" <<'RUBY'
require 'digest'
require 'json'
scale = ARGV[0].to_i
state = 5
random = ->(n) { state = (state * 1103515245 + 12345) & 0x7fffffff; (state >> 8) % n }
rows = Array.new(15_000 * scale) { |i| { 'id' => i, 'name' => "n#{random.(10**9)}", 'list' => Array.new(4) { random.(1000) } } }
text = JSON.generate(rows)
puts text.size, Digest::SHA256.hexdigest(text)
puts JSON.parse(text) == rows
puts rows.group_by { |row| row['name'][0, 3] }.map { |k, v| [v.size, k] }.max.inspect
GC.start
GC.compact if GC.respond_to?(:compact)
sums = Array.new(6) { |n| Thread.new { s = +''; (4000 * scale).times { |i| s << ('x' * (i % 300)); s = +'' if s.size > 100_000 }; s.size } }
puts sums.map(&:value).inspect
puts (1..2000 * scale).map { |i| i.to_s * 50 }.sort.each_slice(7).map(&:first).hash == 0 ? 'zero' : 'sorted'
rd, wr = IO.pipe
pid = fork { rd.close; wr.write(Array.new(20_000) { |i| "c#{i}" }.join.size); wr.close; exit!(0) }
wr.close
puts rd.read
Process.wait(pid)
puts $?.success?
RUBY
;;
esac
