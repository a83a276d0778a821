// Tries to get out of its sandbox, as a native program of the Runtime API or,
// with the argument "escape", of another function.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

var api = "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API") + "/2018-06-01/runtime/invocation/"

type event struct {
	Bomb                    string
	Files, Places, Services []string
	Calls                   [][]any
	Requests                [][2]string
	Stranger                string // the id of another function's call
}

type outcome struct {
	Escaped []string `json:"escaped"`
	Held    int      `json:"held"`
}

func (o *outcome) try(name string, attempt func() error) {
	if attempt() == nil {
		o.Escaped = append(o.Escaped, name)
	} else {
		o.Held++
	}
}

func read(path string) error {
	b, err := os.ReadFile(path)
	if err == nil && len(b) == 0 {
		err = errors.New("empty")
	}
	return err
}

func request(method, url, body string) error {
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer nonsense")
	req.Header.Set("X-Mayfly-Caller", "admin")
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode >= 300 {
		return errors.New(res.Status)
	}
	return nil
}

var zeroes [4096]byte

// call makes a system call that must be refused before it is looked at.
func call(line []any) error {
	var a [7]uintptr
	for i, v := range line[1:] {
		a[i] = uintptr(unsafe.Pointer(&zeroes))
		if n, ok := v.(float64); ok {
			a[i] = uintptr(n)
		}
	}
	_, _, errno := syscall.RawSyscall6(a[0], a[1], a[2], a[3], a[4], a[5], a[6])
	if errno == syscall.EPERM || errno == syscall.ENOSYS {
		return errno
	}
	return nil
}

func escape(e *event) (o outcome) {
	for _, p := range append(e.Files, "/proc/1/environ", "/proc/1/mem", "/proc/kcore", "/dev/mem", "/tmp/neighbor") {
		o.try("read "+p, func() error { return read(p) })
	}
	for _, p := range e.Files {
		o.try("follow a link to "+p, func() error {
			_ = os.Remove("/tmp/link")
			if err := os.Symlink(p, "/tmp/link"); err != nil {
				return err
			}
			return read("/tmp/link")
		})
		o.try("link "+p, func() error { return os.Link(p, "/tmp/hard") })
	}
	for _, p := range e.Places {
		o.try("write "+p, func() error { return os.WriteFile(p, []byte("1"), 0o644) })
	}
	for _, a := range e.Services {
		o.try("dial "+a, func() error {
			c, err := net.DialTimeout("tcp", a, 5*time.Second)
			if err == nil {
				c.Close()
			}
			return err
		})
	}
	for _, c := range e.Calls {
		o.try(fmt.Sprint("call ", c[0]), func() error { return call(c) })
	}
	for _, r := range e.Requests {
		o.try(r[0]+" "+r[1], func() error { return request(r[0], os.Getenv("MAYFLY_ENDPOINT")+r[1], "1") })
	}
	for _, id := range []string{e.Stranger, "1", "00000000-0000-0000-0000-000000000000", "../next"} {
		o.try("answer the call "+id, func() error { return request("POST", api+id+"/response", `"forged"`) })
		o.try("fail the call "+id, func() error { return request("POST", api+id+"/error", `{"errorType":"Forged"}`) })
	}
	o.try("become root", func() error { return syscall.Setuid(0) })
	o.try("mknod", func() error { return syscall.Mknod("/tmp/node", syscall.S_IFCHR|0o666, 0x101) })
	return o
}

func bomb(kind string) string {
	var held [][]byte
	threads := 0
	for {
		var err error
		switch kind {
		case "processes":
			err = exec.Command("/bin/sleep", "1000").Start()
		case "descriptors":
			_, err = syscall.Open("/dev/null", syscall.O_RDONLY, 0)
		case "disk":
			var f *os.File
			if f, err = os.OpenFile("/tmp/fill", os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600); err == nil {
				_, err = f.Write(make([]byte, 1<<20))
				f.Close()
			}
		case "threads":
			if threads++; threads > 10_000 {
				return "ESCAPED 10,000 threads"
			}
			go func() { // the runtime ends the process where it gets no more
				runtime.LockOSThread()
				time.Sleep(time.Hour)
			}()
			time.Sleep(100 * time.Microsecond)
		case "memory":
			held = append(held, bytes.Repeat([]byte{1}, 1<<20))
		default:
			return "there is no such bomb"
		}
		if err != nil {
			return "held: " + err.Error()
		}
	}
}

func main() {
	if len(os.Args) > 1 {
		var e event
		if err := json.NewDecoder(os.Stdin).Decode(&e); err != nil {
			log.Fatal(err)
		}
		if err := json.NewEncoder(os.Stdout).Encode(escape(&e)); err != nil {
			log.Fatal(err)
		}
		return
	}
	for {
		if err := serve(); err != nil {
			log.Fatal(err)
		}
	}
}

func serve() error {
	next, err := http.Get(api + "next")
	if err != nil {
		return err
	}
	data, err := io.ReadAll(next.Body)
	next.Body.Close()
	if err != nil {
		return err
	}
	var e event
	if err := json.Unmarshal(data, &e); err != nil {
		return err
	}
	var out any = "held"
	if e.Bomb != "" {
		out = bomb(e.Bomb)
	} else {
		out = escape(&e)
	}
	reply, err := json.Marshal(out)
	if err != nil {
		return err
	}
	res, err := http.Post(api+next.Header.Get("Lambda-Runtime-Aws-Request-Id")+"/response", "application/json", bytes.NewReader(reply))
	if err != nil {
		return err
	}
	return res.Body.Close()
}
