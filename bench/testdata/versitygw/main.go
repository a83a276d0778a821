// Versitygw serves S3 over the files of a folder by the library alone, with the
// key "bench" and "bench-secret". It prints its address.
package main

import (
	"fmt"
	"net"
	"os"

	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/s3api"
	"github.com/versity/versitygw/s3api/middlewares"
)

func main() {
	if err := serve(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(dir string) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	addr := l.Addr().String()
	_ = l.Close() // the library listens by itself
	stdout := os.Stdout
	os.Stdout = os.Stderr // it says things there
	files, err := posix.New(dir, meta.XattrMeta{}, posix.PosixOpts{Concurrency: 256, ForceNoObjLockFile: true})
	if err != nil {
		return err
	}
	root := middlewares.RootUserConfig{Access: "bench", Secret: "bench-secret"}
	iam := auth.NewIAMServiceSingle(auth.Account{Access: root.Access, Secret: root.Secret, Role: auth.RoleAdmin})
	api, err := s3api.New(files, root, "us-east-1", iam, nil, nil, nil, nil, s3api.WithQuiet(), s3api.WithKeepAlive(),
		s3api.WithConcurrencyLimiter(16_384, 4_096), s3api.WithOnListen(func() { fmt.Fprintln(stdout, addr) }))
	if err != nil {
		return err
	}
	return api.ServeMultiPort([]string{addr})
}
