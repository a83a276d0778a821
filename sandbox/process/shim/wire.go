package shim

// Env marks an environment that makes this executable a keeper. Descriptor 3
// is then its socket, a SOCK_SEQPACKET pair with the daemon.
const Env = "MAYFLY_SHIM"

// Operations. The first byte of a message says which; a reply begins with one
// of the Reply codes.
const (
	OpTree     = 1 + iota // keeper: a detached mount of a file or folder
	OpNursery             // keeper: fork the nursery
	OpCell                // nursery, init: fork the init of a cell
	OpSetup               // init: the cell's own mounts, loopback and doors
	OpEquip               // init: the bundle, binds, secrets, sizes
	OpExec                // init: start the program
	OpSockets             // init: unconnected TCP sockets of the cell's network
	OpLink                // init: a network device whose other end the daemon holds
	OpAdopt               // init: take a process as the program
	OpListen              // init: loopback listeners
	OpImage               // init: change to the root of an image
	OpSecrets             // init: other contents of secrets
	ReplyOK    = 100
	ReplyError = 101 // where string, errno uint32
	EventExit  = 102 // the program ended: wait status uint32, CPU time in µs uint64, peak KiB uint64
)

// Steps of OpExec that fail where the command is wrong.
const (
	StepEnter = "enter working folder"
	StepRun   = "run program"
)

// MaxMessage bounds a message's body. A longer body travels in a memory file,
// the first descriptor, announced by OpLarge before its length.
const (
	MaxMessage = 128 << 10
	OpLarge    = 99
)

// Writer builds a message.
type Writer []byte

// Byte, Uint and Text append one field. Texts appends a list.
func (w *Writer) Byte(b byte) { *w = append(*w, b) }

func (w *Writer) Uint(n uint64) {
	for range 8 {
		*w = append(*w, byte(n))
		n >>= 8
	}
}

func (w *Writer) Text(s string) {
	w.Uint(uint64(len(s)))
	*w = append(*w, s...)
}

func (w *Writer) Texts(list []string) {
	w.Uint(uint64(len(list)))
	for _, s := range list {
		w.Text(s)
	}
}

func (w *Writer) Flag(on bool) {
	if on {
		w.Byte(1)
	} else {
		w.Byte(0)
	}
}

// Reader takes a message apart in the order in which it was written. A field
// beyond the end reads as zero.
type Reader []byte

func (r *Reader) Byte() byte {
	if len(*r) < 1 {
		return 0
	}
	b := (*r)[0]
	*r = (*r)[1:]
	return b
}

func (r *Reader) Uint() (n uint64) {
	if len(*r) < 8 {
		*r = nil
		return 0
	}
	for i := range 8 {
		n |= uint64((*r)[i]) << (8 * i)
	}
	*r = (*r)[8:]
	return n
}

func (r *Reader) Text() string {
	n := r.Uint()
	if n > uint64(len(*r)) {
		*r = nil
		return ""
	}
	s := string((*r)[:n])
	*r = (*r)[n:]
	return s
}

func (r *Reader) Texts() []string {
	var list []string
	for n := r.Uint(); n > 0 && len(*r) > 0; n-- {
		list = append(list, r.Text())
	}
	return list
}

func (r *Reader) Flag() bool { return r.Byte() == 1 }
