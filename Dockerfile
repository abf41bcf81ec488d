# A builder of wheelhouses for Python 3.12: docker build -t python-wheelhouse .
#
# Any other S2I builder for Python can be the base:
#
#   podman build --from BASE -t NAME .
#   docker build --build-context registry.access.redhat.com/ubi9/python-312=docker-image://BASE -t NAME .
#
# There is a single stage, whose FROM names an existing image: OpenShift looks that name up, and its dockerStrategy.from
# replaces only the last FROM. So the program is always installed for the base that it runs on.
FROM registry.access.redhat.com/ubi9/python-312
LABEL io.k8s.display-name="Wheelhouse" \
      io.k8s.description="Makes wheelhouses: everything that a Python application requires, as wheels" \
      io.openshift.tags="builder,python,wheelhouse" \
      io.openshift.s2i.scripts-url="image:///opt/app-root/s2i" \
      io.s2i.scripts-url="image:///opt/app-root/s2i"
# The sources of the program and of pip, setuptools and wheel.
ARG PIP_FIND_LINKS
ARG PIP_INDEX_URL
ARG PIP_NO_INDEX
ARG WHEELHOUSE_UPGRADE_TOOLS
USER 1001
COPY --chown=1001:0 . /tmp/src
RUN /tmp/src/s2i/install /tmp/src && rm -rf /tmp/src
CMD ["/opt/app-root/s2i/usage"]
