# ffmpeg: a generated film filtered, encoded by several threads and decoded again
# needs: ffmpeg
case $1 in
prepare) ;;
run)
    quiet='-hide_banner -loglevel error -nostdin -y'
    ffmpeg $quiet -f lavfi -i testsrc2=size=640x360:rate=25 -f lavfi -i sine=frequency=440 -t $((2 * $2)) \
        -vf 'scale=320:180,unsharp,hue=s=2' -c:v mpeg4 -q:v 4 -threads 4 -c:a aac -bitexact -flags +bitexact film.mkv
    ffmpeg $quiet -i film.mkv -map 0:v -bitexact -f md5 -
    ffmpeg $quiet -i film.mkv -map 0:a -bitexact -f md5 -
    ffmpeg $quiet -i film.mkv -filter_complex 'split[a][b];[a]scale=160:90[c];[b][c]overlay' -c:v rawvideo -bitexact -f framecrc - | tail -n 3
    rm -f film.mkv ;;
esac
