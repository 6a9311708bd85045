# lua: tables, strings and coroutines, all through realloc
# needs: lua5.4
case $1 in
prepare) ;;
run) lua5.4 - "$2" <<'LUA'
local scale = tonumber(arg[1])
local state = 11
local function random(n) state = (state * 1103515245 + 12345) & 0x7fffffff; return (state >> 8) % n end
local rows, words = {}, {}
for i = 1, 60000 * scale do
  rows[i] = { id = i, name = "n" .. random(1000000), list = { random(9), random(99) } }
  words[random(5000)] = ("w"):rep(random(400))
end
table.sort(rows, function(a, b) if a.name == b.name then return a.id < b.id end return a.name < b.name end)
local total, sum = 0, 0
for _, word in pairs(words) do total = total + #word end
for i = 1, #rows, 97 do sum = (sum * 31 + rows[i].id) % 1000000007 end
print(#rows, total, sum)
local made = {}
for i = 1, 2000 * scale do
  made[i] = coroutine.wrap(function(n) for k = 1, 5 do n = n + coroutine.yield(n) end return n end)
  made[i](i)
end
local last = 0
for k = 1, 4 do for i = 1, #made do last = (last + made[i](k)) % 1000003 end end
print(last)
local parts = {}
for i = 1, 30000 * scale do parts[#parts + 1] = tostring(i) end
print(#table.concat(parts, ","))
rows, words, made, parts = nil, nil, nil, nil
collectgarbage()
print(collectgarbage("count") < 2000)
LUA
;;
esac
