package telemetry

import "github.com/cespare/xxhash/v2"

// The filter of a block's ids is a blocked Bloom filter (Putze, Sanders,
// Singler: "Cache-, Hash- and Space-Efficient Bloom Filters", 2007): all bits of
// an id are in one line of 64 bytes. With 12 bits an id and 6 probes about one
// block in 120 is read in vain.
const (
	bloomLine   = 64
	bloomBits   = 12
	bloomProbes = 6
)

func appendBloom(dst []byte, ids []string) []byte {
	if len(ids) == 0 {
		return dst
	}
	lines := (len(ids)*bloomBits + bloomLine*8 - 1) / (bloomLine * 8)
	from := len(dst)
	dst = append(dst, make([]byte, lines*bloomLine)...)
	filter := dst[from:]
	for _, id := range ids {
		h := xxhash.Sum64String(id)
		line := filter[bloomAt(h, len(filter)):][:bloomLine]
		for i := range bloomProbes {
			bit := bloomBit(h, i)
			line[bit/8] |= 1 << (bit % 8)
		}
	}
	return dst
}

// bloomAt is where the line of a hash begins in a filter of size bytes.
func bloomAt(h uint64, size int) int64 {
	return int64((h>>32)*uint64(size/bloomLine)>>32) * bloomLine
}

// bloomBit is the i-th bit of a hash in its line, by double hashing.
func bloomBit(h uint64, i int) uint32 {
	a, b := uint32(h), uint32(h>>17)|1
	return (a + uint32(i)*b) % (bloomLine * 8)
}

func bloomHas(line []byte, h uint64) bool {
	for i := range bloomProbes {
		bit := bloomBit(h, i)
		if line[bit/8]&(1<<(bit%8)) == 0 {
			return false
		}
	}
	return true
}
