package alert

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/smtp"
	"strings"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

const mailTimeout = 15 * time.Second

// sendMail sends a text by SMTP. The whole conversation ends with ctx, or after
// mailTimeout.
func sendMail(ctx context.Context, r *Receiver, subject, text string) error {
	ctx, cancel := context.WithTimeout(ctx, mailTimeout)
	defer cancel()
	host, port, err := net.SplitHostPort(r.SMTP)
	if err != nil {
		return err
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", r.SMTP)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if port == "465" {
		conn = tls.Client(conn, &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12})
	}
	c, err := smtp.NewClient(conn, host)
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	defer c.Close()
	return converse(c, r, host, message5322(r, subject, text))
}

func converse(c *smtp.Client, r *Receiver, host string, body []byte) error {
	if ok, _ := c.Extension("STARTTLS"); ok {
		if err := c.StartTLS(&tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}); err != nil {
			return err
		}
	}
	if r.User != "" {
		if err := c.Auth(smtp.PlainAuth("", r.User, r.Password, host)); err != nil {
			return err
		}
	}
	if err := c.Mail(address(r.From)); err != nil {
		return err
	}
	for _, to := range r.To {
		if err := c.Rcpt(address(to)); err != nil {
			return err
		}
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(body); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return c.Quit()
}

// address is the bare address of "Name <address>", which validate has parsed.
func address(s string) string {
	a, err := mail.ParseAddress(s)
	if err != nil {
		return s
	}
	return a.Address
}

// message5322 is a mail with plain text. Summaries hold what labels hold, so
// nothing of them reaches a header but encoded.
func message5322(r *Receiver, subject, text string) []byte {
	var b strings.Builder
	subject = strings.Map(func(c rune) rune {
		if c < ' ' {
			return ' '
		}
		return c
	}, subject)
	fmt.Fprintf(&b, "From: %s\r\nTo: %s\r\nSubject: %s\r\nDate: %s\r\nMessage-ID: <%s@mayfly>\r\n", r.From, strings.Join(r.To, ", "),
		mime.QEncoding.Encode("utf-8", subject), time.Now().Format(time.RFC1123Z), mayfly.NewID())
	b.WriteString("MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\nAuto-Submitted: auto-generated\r\n\r\n")
	q := quotedprintable.NewWriter(&b)
	_, _ = q.Write([]byte(strings.ReplaceAll(text, "\n", "\r\n"))) // to memory: cannot fail
	_ = q.Close()
	return []byte(b.String())
}
