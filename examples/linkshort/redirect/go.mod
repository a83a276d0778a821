module example.com/linkshort/redirect

go 1.22
