# A builder of wheelhouses, for the Python of BUILDER_IMAGE: docker build -t python-wheelhouse .
#
# BUILDER_IMAGE is any S2I builder for Python. The program is taken from dist/ if that is there, else from an index,
# else it is compiled here, in the same image that it will run in: that takes some minutes and a network.
ARG BUILDER_IMAGE=registry.access.redhat.com/ubi9/python-312

FROM ${BUILDER_IMAGE} AS program
USER 0
COPY . /tmp/checkout
RUN INSTALL_RUST=1 /tmp/checkout/s2i/install /tmp/checkout /tmp/app-root

FROM ${BUILDER_IMAGE}
LABEL io.k8s.display-name="Wheelhouse" \
      io.k8s.description="Makes wheelhouses: everything that a Python application requires, as wheels" \
      io.openshift.tags="builder,python,wheelhouse" \
      io.openshift.s2i.scripts-url="image:///opt/app-root/s2i" \
      io.s2i.scripts-url="image:///opt/app-root/s2i"
COPY --from=program /tmp/app-root/ /opt/app-root/
USER 1001
# Without a network the tools stay as they are, and builds that have one upgrade them.
ARG PIP_RETRIES=1
ARG WHEELHOUSE_UPGRADE_TOOLS=1
RUN /opt/app-root/bin/wheelhouse s2i tools || true
CMD ["/opt/app-root/s2i/usage"]
