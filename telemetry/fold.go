package telemetry

import "bytes"

// indexFold is the place of s in b, whatever the case of ASCII letters, or -1.
// It looks for the rarest byte of s with the processor's own search and compares
// around it.
func indexFold(b []byte, s string) int {
	if s == "" {
		return 0
	}
	if len(s) > len(b) {
		return -1
	}
	at := rarest(s)
	anchors := b[at : len(b)-len(s)+1+at]
	lo, up := lower(s[at]), upper(s[at])
	nextLo, nextUp := seek(anchors, 0, lo), -1
	if lo != up {
		nextUp = seek(anchors, 0, up)
	}
	for nextLo >= 0 || nextUp >= 0 {
		i := nextLo
		if i < 0 || nextUp >= 0 && nextUp < i {
			i = nextUp
		}
		if equalFold(b[i:i+len(s)], s) {
			return i
		}
		if i == nextLo {
			nextLo = seek(anchors, i+1, lo)
		} else {
			nextUp = seek(anchors, i+1, up)
		}
	}
	return -1
}

func seek(b []byte, from int, c byte) int {
	if i := bytes.IndexByte(b[from:], c); i >= 0 {
		return from + i
	}
	return -1
}

// common are the bytes of log lines, roughly from the most frequent on. A wrong
// order costs time only.
var common = []byte(" e0ti1an2so3r4d5l6c7u8m9p\":,fg=hb/[]-._v{}wykx")

// rarest is the place of the byte of s that logs hold least often.
func rarest(s string) int {
	best, rank := 0, -1
	for i := range len(s) {
		r := bytes.IndexByte(common, lower(s[i]))
		if r < 0 {
			return i
		}
		if r > rank {
			best, rank = i, r
		}
	}
	return best
}

func equalFold(b []byte, s string) bool {
	for i := range b {
		if b[i] != s[i] && lower(b[i]) != lower(s[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 32
	}
	return c
}

func upper(c byte) byte {
	if 'a' <= c && c <= 'z' {
		return c - 32
	}
	return c
}
