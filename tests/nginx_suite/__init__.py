"""nginx's own tests (github.com/nginx/nginx-tests), run against synproxy: `make nginx-tests`."""
