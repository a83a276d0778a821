package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// s3Connections is how many connections, each with an object of its own, load an
// S3 server.
const s3Connections = 32

// s3Target is an S3 server, by URLs that were signed before, so that the
// generator signs nothing.
type s3Target struct {
	name       string
	puts, gets []*url.URL
}

// benchS3 loads a node, and the library that it uses by itself, by turns.
func benchS3(ctx context.Context, s *session, t *table) error {
	app := filepath.Join(s.dir, "s3")
	if err := writeFile(filepath.Join(app, "mayfly.yaml"), "app: s3\nbuckets: {store: {}}\n"); err != nil {
		return err
	}
	n, err := s.startNode(ctx, app, s.dir+"/s3-data")
	if err != nil {
		return err
	}
	defer n.stop()
	ours := s3Target{name: "mayfly"}
	if ours.puts, err = n.presigned(ctx, http.MethodPut); err != nil {
		return err
	}
	if ours.gets, err = n.presigned(ctx, http.MethodGet); err != nil {
		return err
	}
	alone, stop, err := s.libraryAlone(ctx)
	if err != nil {
		return err
	}
	defer stop()
	for _, size := range []int{16 << 10, 1 << 20} {
		for range s.rounds {
			for _, target := range []s3Target{ours, alone} {
				s.loadS3(ctx, t, target, size)
			}
		}
	}
	return nil
}

// loadS3 puts objects of a size, and gets them.
func (s *session) loadS3(ctx context.Context, t *table, target s3Target, size int) {
	body := make([]byte, size)
	put := func(conn, _ int) []byte {
		u := target.puts[conn]
		return append(fmt.Appendf(nil, "PUT %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n", u.RequestURI(), u.Host, len(body)), body...)
	}
	read := func(conn, _ int) []byte {
		u := target.gets[conn]
		return fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", u.RequestURI(), u.Host)
	}
	for _, c := range []struct {
		verb    string
		request func(int, int) []byte
	}{{"put", put}, {"get", read}} {
		label := fmt.Sprintf("%s %d KiB, %d connections, %s", c.verb, size>>10, s3Connections, target.name)
		out := load{addr: target.gets[0].Host, request: c.request, connections: s3Connections, duration: s.duration}.run(ctx)
		t.row(label).add("per second", "", out.rate())
		t.row(label).add("MB/s", "", out.rate()*float64(size)/1e6)
		t.row(label).times(&out.latency)
		if out.failed > 0 {
			t.note("%s: %v", label, out.errors)
		}
	}
}

// presigned are URLs for as many objects as there are connections.
func (n *node) presigned(ctx context.Context, method string) ([]*url.URL, error) {
	var out []*url.URL
	for i := range s3Connections {
		var signed struct{ URL string }
		in := map[string]string{"method": method, "key": fmt.Sprintf("object-%d", i), "expires": "1h"}
		if err := n.client().Do(ctx, "POST", "/v1/apps/s3/buckets/store/presign", in, &signed); err != nil {
			return nil, err
		}
		u, err := url.Parse(signed.URL)
		if err != nil {
			return nil, err
		}
		out = append(out, u)
	}
	return out, nil
}

// libraryAlone starts versitygw over a folder with one bucket.
func (s *session) libraryAlone(ctx context.Context) (target s3Target, stop func(), err error) {
	target.name = "versitygw alone"
	binary, dir := filepath.Join(s.dir, "versitygw"), filepath.Join(s.dir, "versitygw-data")
	if err := s.build(ctx, binary, "./bench/testdata/versitygw"); err != nil {
		return target, nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return target, nil, err
	}
	p, err := startPeer(exec.CommandContext(ctx, binary, dir), target.name)
	if err != nil {
		return target, nil, err
	}
	stop = func() {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	}
	client := s3.New(s3.Options{
		BaseEndpoint: aws.String("http://" + p.addr), Region: "us-east-1", UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider("bench", "bench-secret", ""),
	})
	bucket := aws.String("store")
	if _, err = client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: bucket}); err == nil {
		err = target.sign(ctx, s3.NewPresignClient(client, s3.WithPresignExpires(time.Hour)), bucket)
	}
	if err != nil {
		stop()
		return target, nil, err
	}
	return target, stop, nil
}

// sign makes the URLs of a server whose key is known.
func (t *s3Target) sign(ctx context.Context, client *s3.PresignClient, bucket *string) error {
	for i := range s3Connections {
		key := aws.String(fmt.Sprintf("object-%d", i))
		put, err := client.PresignPutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: key})
		if err != nil {
			return err
		}
		get, err := client.PresignGetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: key})
		if err != nil {
			return err
		}
		for _, one := range []struct {
			into *[]*url.URL
			text string
		}{{&t.puts, put.URL}, {&t.gets, get.URL}} {
			u, err := url.Parse(one.text)
			if err != nil {
				return err
			}
			*one.into = append(*one.into, u)
		}
	}
	return nil
}
