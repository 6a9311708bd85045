# perl: hashes, strings, regular expressions, sorting
# needs: perl
case $1 in
prepare) ;;
run) PERL_HASH_SEED=0 perl - "$2" <<'PERL'
use strict; use warnings;
my $scale = shift;
my ($state, %words, @lines) = (5);
sub random { $state = ($state * 1103515245 + 12345) & 0x7fffffff; return ($state >> 8) % $_[0] }
for my $i (1 .. 60000 * $scale) {
    my $word = join '', map { chr(97 + random(26)) } 1 .. 2 + random(4);
    $words{$word}++;
    push @lines, "$word:" . ('x' x random(80)) . ":$i";
}
my @sorted = sort { $words{$b} <=> $words{$a} || $a cmp $b } keys %words;
print scalar(@sorted), " @sorted[0 .. 9]\n";
my $text = join "\n", sort @lines;
my $matches = () = $text =~ /^([a-m]+):x*:(\d+)$/mg;
print length($text), " $matches\n";
PERL
;;
esac
